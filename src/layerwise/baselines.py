"""What the grown network is compared with: networks of the same kind that never grew."""

from __future__ import annotations

import time
from dataclasses import dataclass

from layerwise.datasets import Split
from layerwise.engine import Engine, OnEpochs, Problem


@dataclass(frozen=True)
class Baseline:
    """One network trained end to end from scratch."""

    validation: dict[str, float] | None
    test: dict[str, float] | None
    seconds: float
    parameters: int


def train_baseline(
    engine: Engine, problem: Problem, test: Split | None, on_epochs: OnEpochs
) -> Baseline:
    """Train a network end to end, and score it.

    Args:
        engine: what trains.
        problem: the network as one problem, its weights freshly drawn.
        test: rows to score on, or None.
        on_epochs: told of progress.
    """
    started = time.perf_counter()
    engine.train(problem, on_epochs)
    validation = problem.validation
    return Baseline(
        validation=None if validation is None else engine.evaluate(problem, validation),
        test=None if test is None else engine.evaluate(problem, test),
        seconds=time.perf_counter() - started,
        parameters=problem.model.count_params(),
    )
