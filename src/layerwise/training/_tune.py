"""Fine-tuning every replicate, and the one decision whether that was worth it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import keras

from layerwise._random import Stream
from layerwise.checkpoint import Journal
from layerwise.engine import Problem, Result
from layerwise.finetune import FineTune, Tuned, fine_tune
from layerwise.growth import copy_weights
from layerwise.history import Metrics, higher_is_better, score_of
from layerwise.progress import Listener, PhaseStarted
from layerwise.training._network import network, untrained
from layerwise.training._phases import Whole, train_in_phases
from layerwise.training._records import combine_metrics
from layerwise.training._replica import Replica
from layerwise.training._whole import whole_problem

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Tuning(Generic[Thing]):
    """What fine-tuning did to all replicates."""

    tuned: list[Thing | None]
    """What came of each replicate; None where it had diverged before."""
    record: dict[str, Any]
    """Of the history: validation metrics before and after, whether it was kept, seconds."""
    values: list[float | None]
    """The metric that decided, after fine-tuning, of each replicate."""

    @property
    def kept(self) -> bool:
        """Whether it was worth it."""
        return bool(self.record["kept"])


def tune(
    replicas: Sequence[Replica | None],
    metric: str,
    one: Callable[[Replica], tuple[Thing, Tuned]],
) -> Tuning[Thing]:
    """Fine-tune each replicate by `one`; it is kept if the mean of `metric` got better.

    Those that diverged before are None.
    """
    started = time.perf_counter()
    done = [None if replica is None else one(replica) for replica in replicas]
    tuned = [None if pair is None else pair[1] for pair in done]
    before = combine_metrics([None if t is None else t.before for t in tuned]) or {}
    after = combine_metrics([None if t is None else t.after for t in tuned]) or {}
    metric = metric if metric in before else _deciding(before)
    record = {
        "validation_before": before,
        "validation_after": after,
        "kept": _better(before, after, metric),
        "seconds": time.perf_counter()
        - started
        + sum(t.seconds_before for t in tuned if t is not None),
    }
    values = [None if t is None or math.isnan(t.after[metric]) else t.after[metric] for t in tuned]
    return Tuning([None if pair is None else pair[0] for pair in done], record, values)


def tune_network(
    replica: Replica, depth: int, spec: FineTune, metric: str, journal: Journal, listen: Listener
) -> tuple[keras.Model, Tuned]:
    """Fine-tune a copy of the network, its classifier or regressor included."""
    listen(PhaseStarted("fine-tuning", spec.epochs))
    model = network(replica, depth)

    def make(optimizer: keras.Optimizer, epochs: int) -> Problem:
        return whole_problem(
            replica,
            model,
            depth,
            epochs,
            optimizer,
            batch_size=spec.batch_size,
            callbacks=spec.stopping(metric),
        )

    whole = Whole(
        name=f"fine-tune-{replica.index}",
        blocks=[layer for layer in model.layers if layer.name.startswith("block_")],
        layers={"model": model},
        make=make,
        plan={},
    )
    problem = whole.problem(replica, spec, spec.epochs)
    assert problem.validation is not None

    def train() -> Result:
        if spec.head == "fresh":
            _renew_head(replica, model, depth)
        return train_in_phases(replica, whole, spec, journal, listen, problem)

    result = fine_tune(replica.settings.engine, problem, problem.validation, train)
    return model, result


def _renew_head(replica: Replica, model: keras.Model, depth: int) -> None:
    """Give the network a classifier or regressor that has learned nothing."""
    drawn = untrained(replica, depth, replica.seed(Stream.FINE_TUNE, depth))
    copy_weights(drawn.get_layer("head"), model.get_layer("head"))


def _deciding(metrics: Metrics) -> str:
    return "accuracy" if "accuracy" in metrics else "mean_squared_error"


def _better(before: Metrics, after: Metrics, metric: str) -> bool:
    """Whether the mean over the replicates improved."""
    old, new = score_of(before[metric]), score_of(after[metric])
    if new is None or old is None:
        return False
    return new.mean > old.mean if higher_is_better(metric) else new.mean < old.mean
