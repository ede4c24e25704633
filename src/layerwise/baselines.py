"""What the grown network is compared with: networks of the same kind that never grew."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from layerwise.datasets import Split
from layerwise.engine import Engine, Problem, Result


@dataclass(frozen=True)
class Baseline:
    """One network trained end to end from scratch."""

    validation: dict[str, float] | None
    test: dict[str, float] | None
    seconds: float
    parameters: int


def train_baseline(
    engine: Engine, problem: Problem, test: Split | None, train: Callable[[], Result]
) -> Baseline:
    """Train a network end to end, and score it.

    Args:
        engine: what scores.
        problem: the network as one problem, its weights freshly drawn.
        test: rows to score on, or None.
        train: trains the problem, or gives its network what an earlier session ended with.
    """
    started = time.perf_counter()
    before = train().seconds_before
    validation = problem.validation
    return Baseline(
        validation=None if validation is None else engine.evaluate(problem, validation),
        test=None if test is None else engine.evaluate(problem, test),
        seconds=time.perf_counter() - started + before,
        parameters=problem.model.count_params(),
    )
