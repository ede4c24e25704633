"""Fine-tuning every replicate, and the one decision whether that was worth it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras

from layerwise.checkpoint import Journal
from layerwise.engine import Problem, Result
from layerwise.finetune import FineTune, Tuned, fine_tune
from layerwise.history import Metrics, StopReason, higher_is_better, score_of
from layerwise.optimizers import at_rate, fresh, slowed_by_variable
from layerwise.progress import Listener, PhaseStarted
from layerwise.training._records import combine_metrics
from layerwise.training._replica import Replica
from layerwise.training._result import network
from layerwise.training._settings import described_tuning
from layerwise.training._trained import Job, ready, trained
from layerwise.training._whole import whole_problem


@dataclass(frozen=True)
class Tuning:
    """What fine-tuning did to all replicates."""

    models: list[keras.Model | None]
    record: dict[str, Any]
    """`fine_tune` of the history."""
    values: list[float | None]
    """The metric that decided, after fine-tuning, of each replicate."""


def tune(
    replicas: Sequence[Replica],
    depth: int,
    spec: FineTune,
    metric: str,
    journal: Journal,
    listen: Listener,
) -> Tuning:
    """Fine-tune a copy of each network; it is kept if the mean of `metric` got better."""
    started = time.perf_counter()
    models: list[keras.Model | None] = []
    tuned: list[Tuned | None] = []
    for replica in replicas:
        if len(replica.stages) < depth:
            models.append(None)
            tuned.append(None)
            continue
        listen(PhaseStarted("fine-tuning", spec.epochs))
        model = network(replica, depth)
        tuned.append(_tune_one(replica, model, depth, spec, metric, journal, listen))
        models.append(model)
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
    return Tuning(models, record, values)


def _tune_one(
    replica: Replica,
    model: keras.Model,
    depth: int,
    spec: FineTune,
    metric: str,
    journal: Journal,
    listen: Listener,
) -> Tuned:
    """Fine-tune one network in place."""
    engine, blocks = replica.settings.engine, _blocks(model)
    whole = _phase(replica, model, depth, spec, metric, spec.epochs)
    assert whole.validation is not None

    def train() -> Result:
        before = 0.0
        for number, (top, epochs) in enumerate(spec.phases(depth), start=1):
            all_of_it = (top, epochs) == (depth, spec.epochs)
            with _still(blocks[: depth - top]):
                # With other blocks at rest the layers make another problem.
                problem = whole
                if not all_of_it:
                    problem = _phase(replica, model, depth, spec, metric, epochs)
                job = Job(
                    name=f"fine-tune-{replica.index}" + (f"-{number}" if number > 1 else ""),
                    plan={"depth": depth, "phase": [top, epochs], **described_tuning(spec)},
                    below=replica.trunk(depth),
                    layers={"model": model},
                    problem=ready(problem),
                )
                result = trained(job, engine, journal, listen)
            before += result.seconds_before
            if result.stop_reason == StopReason.DIVERGED:
                break
        return replace(result, seconds_before=before)

    return fine_tune(engine, whole, whole.validation, train)


def _phase(
    replica: Replica, model: keras.Model, depth: int, spec: FineTune, metric: str, epochs: int
) -> Problem:
    """The network as a problem, as far as its layers may move."""
    stages = replica.settings.optimizer(depth)
    optimizer = at_rate(fresh(spec.optimizer) if spec.optimizer else stages, spec.learning_rate)
    if spec.layer_decay < 1:
        of_block = {
            id(variable): spec.layer_decay ** (depth - number)
            for number, block in enumerate(_blocks(model))
            for variable in block.variables
        }
        factors = [of_block.get(id(variable), 1.0) for variable in model.trainable_variables]
        optimizer = slowed_by_variable(optimizer, factors)
    return whole_problem(
        replica,
        model,
        depth,
        epochs,
        optimizer,
        batch_size=spec.batch_size,
        callbacks=spec.stopping(metric),
    )


@contextmanager
def _still(blocks: Sequence[keras.Layer]) -> Iterator[None]:
    """Let blocks rest, their statistics too, and then be as they were."""
    before = [(layer, layer.trainable) for block in blocks for layer in block._flatten_layers()]
    for block in blocks:
        block.trainable = False
    try:
        yield
    finally:
        for layer, moved in before:
            layer.trainable = moved


def _blocks(model: keras.Model) -> list[keras.Layer]:
    """The blocks of a stitched network, from the lowest up."""
    return [layer for layer in model.layers if layer.name.startswith("block_")]


def _deciding(metrics: Metrics) -> str:
    return "accuracy" if "accuracy" in metrics else "mean_squared_error"


def _better(before: Metrics, after: Metrics, metric: str) -> bool:
    """Whether the mean over the replicates improved."""
    old, new = score_of(before[metric]), score_of(after[metric])
    if new is None or old is None:
        return False
    return new.mean > old.mean if higher_is_better(metric) else new.mean < old.mean
