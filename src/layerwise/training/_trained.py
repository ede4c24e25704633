"""One training of a run: done now, or taken from an earlier session that has finished it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise.checkpoint import Journal
from layerwise.engine import Engine, Problem, Result, Snapshot, fitting
from layerwise.history import StopReason, finite
from layerwise.progress import Listener
from layerwise.training._meter import Meter


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training with its place in the journal.

    Attributes:
        name: of no other training of the run.
        plan: what it trains with, to be compared by a resume.
        below: digest of the frozen blocks that it stands on.
        layers: what it moves, by name.
        problem: makes the problem; called only where there is something left to train.
    """

    name: str
    plan: Mapping[str, Any]
    below: str
    layers: Mapping[str, keras.Layer | None]
    problem: Callable[[], Problem]


def ready(problem: Problem) -> Callable[[], Problem]:
    """For a job whose problem is there already: a loop's next problem does not take its place."""
    return lambda: problem


def trained(
    job: Job, engine: Engine, journal: Journal, listen: Listener, meter: Meter | None = None
) -> Result:
    """Train, from where an earlier session stood; or give the layers what it ended with."""
    meter = meter or Meter(engine)
    found = journal.find(job.name, job.plan, job.below)
    if found is not None:
        for name, variable in _variables(job.layers).items():
            variable.assign(fitting(found, name, variable))
        meter.uncounted()
        result = _result(found)
        meter.earlier(result.seconds_before)
        return result
    watch = journal.watch(job.name, job.plan, listen, job.below)
    before = watch.seconds()
    with meter.spent_on("training"):
        problem = job.problem()
        result = engine.train(problem, watch)
    meter.trained(problem, result)
    seconds = watch.seconds()
    facts = {**finite(asdict(result)), "seconds_before": seconds}
    journal.keep(job.name, job.plan, Snapshot(_values(job.layers), facts), job.below)
    meter.earlier(before)
    return replace(result, seconds_before=before)


def _result(found: Snapshot) -> Result:
    kept = found.facts
    curves = {name: [number(v) for v in values] for name, values in kept["curves"].items()}
    return Result(**{**kept, "curves": curves, "stop_reason": StopReason(kept["stop_reason"])})


def _variables(layers: Mapping[str, keras.Layer | None]) -> dict[str, Any]:
    """All variables by name: weights, statistics and random states."""
    return {
        f"{name}.{i}": variable
        for name, layer in layers.items()
        if layer is not None
        for i, variable in enumerate(layer.variables)
    }


def _values(layers: Mapping[str, keras.Layer | None]) -> dict[str, NDArray[Any]]:
    return {
        name: np.array(keras.ops.convert_to_numpy(variable.value))
        for name, variable in _variables(layers).items()
    }


def number(value: float | None) -> float:
    """A number as JSON keeps it: None stands for one that was not finite."""
    return math.nan if value is None else value
