"""Training one network to compare with, and scoring it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from layerwise.datasets import Split
from layerwise.engine import Engine, Problem, Result
from layerwise.history import StopReason


@dataclass(frozen=True)
class Baseline:
    """One network that never grew, on validation and on test; NaN where it diverged."""

    validation: dict[str, float] | None
    test: dict[str, float] | None
    seconds: float
    parameters: int
    epochs: int


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
    result = train()
    broken = result.stop_reason == StopReason.DIVERGED

    def score(split: Split | None) -> dict[str, float] | None:
        scores = None if split is None else engine.evaluate(problem, split)
        return dict.fromkeys(scores, math.nan) if broken and scores else scores

    return Baseline(
        validation=score(problem.validation),
        test=score(test),
        seconds=time.perf_counter() - started + result.seconds_before,
        parameters=problem.model.count_params(),
        epochs=result.epochs,
    )
