"""After growth: keep the chosen depth, fine-tune, compare, score the test set once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from layerwise.checkpoint import Journal
from layerwise.errors import DivergedError
from layerwise.finetune import FineTune
from layerwise.growth import path
from layerwise.history import History, Metric, Metrics, higher_is_better
from layerwise.objectives import has_score, scored_by
from layerwise.progress import Listener, Noted, PhaseStarted
from layerwise.training._compare import compare
from layerwise.training._diagnose import diagnose
from layerwise.training._meter import together
from layerwise.training._network import Networks
from layerwise.training._records import combine_metrics
from layerwise.training._replica import Replica
from layerwise.training._result import TrainResult, best_replicate
from layerwise.training._settings import Settings
from layerwise.training._tune import tune, tune_network
from layerwise.training._tune_trunk import tune_trunk
from layerwise.training._view import targets_of
from layerwise.training._whole import score


def finish(
    replicas: Sequence[Replica],
    settings: Settings,
    history: History,
    journal: Journal,
    listen: Listener,
) -> TrainResult:
    """Turn a grown history and its replicates into the result.

    Raises:
        DivergedError: no stage is usable.
    """
    data = replicas[0].data
    history.selected_depth = depth = _usable_depth(settings, history)
    split, _, metric = history.monitor.partition(".")
    values = _values(getattr(history.stages[depth - 1], split)[metric])
    grown: Sequence[Replica | None] = [
        replica if len(replica.stages) >= depth else None for replica in replicas
    ]
    if settings.fine_tune is None:
        models: Sequence[keras.Model | None] = Networks(grown, depth)
    else:
        for replica in replicas:
            replica.meter.start()
        models, values, history.fine_tune = _tuned(
            grown, values, depth, settings.fine_tune, metric, journal, listen
        )
        history.fine_tune["ledger"] = together([replica.meter.read() for replica in replicas])
    best = best_replicate(values, higher_is_better(metric))
    if data.test is not None:
        history.test = _known_test(history, depth) or _tested(
            replicas, models, depth, history, listen
        )
    if settings.baseline != "none":
        history.baseline = compare(replicas[best], history, journal, listen)
    chosen = models[best]
    assert chosen is not None
    pictures = _diagnosed(replicas[best], chosen, depth, history, listen)
    return TrainResult(
        history=history,
        models=models,
        classes=data.classes,
        run_dir=None,
        best=best,
        _drawn=pictures,
        _replicas=replicas,
    )


def _usable_depth(settings: Settings, history: History) -> int:
    depth = settings.depth_rule.select(history)
    if depth is None:
        raise DivergedError(
            f"Every stage diverged: in stage 1 {history.stages[0].message}. Lower the learning "
            'rate, pass `on_divergence="retry"`, scale the inputs, or try another seed.'
        )
    return depth


def _diagnosed(
    replica: Replica, model: keras.Model, depth: int, history: History, listen: Listener
) -> dict[str, str]:
    """What the settings want to know of the network: numbers go to the history, pictures back."""
    wanted = replica.settings.diagnostics
    if not wanted:
        return {}
    if replica.data.part:
        listen(Noted("No diagnostics: they need all rows in one process, and each has its share."))
        return {}
    history.diagnostics, pictures = diagnose(replica, model, depth, wanted, listen)
    return pictures


def _tuned(
    grown: Sequence[Replica | None],
    values: Sequence[float | None],
    depth: int,
    spec: FineTune,
    metric: str,
    journal: Journal,
    listen: Listener,
) -> tuple[Sequence[keras.Model | None], Sequence[float | None], dict[str, Any]]:
    """The networks after each step that was kept, their scores, and `fine_tune` of the history."""
    steps = []
    if spec.when != "after":
        trunks = tune(grown, metric, lambda one: tune_trunk(one, depth, spec, journal, listen))
        steps.append(trunks.record)
        if trunks.kept:
            grown, values = trunks.tuned, trunks.values
    models: Sequence[keras.Model | None] = Networks(grown, depth)
    if spec.when != "before":
        tuning = tune(
            grown, metric, lambda one: tune_network(one, depth, spec, metric, journal, listen)
        )
        steps.append(tuning.record)
        if tuning.kept:
            models, values = tuning.tuned, tuning.values
    return models, values, _record(spec, steps)


def _record(spec: FineTune, steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`fine_tune` of the history: from before the first step to after the last that was kept."""
    kept = [step for step in steps if step["kept"]]
    record = {
        "when": spec.when,
        "validation_before": steps[0]["validation_before"],
        "validation_after": (kept or steps)[-1]["validation_after"],
        "kept": bool(kept),
        "seconds": sum(step["seconds"] for step in steps),
    }
    if len(steps) > 1:
        record["steps"] = [
            {"when": when, **step} for when, step in zip(("before", "after"), steps, strict=True)
        ]
    return record


def _tested(
    replicas: Sequence[Replica],
    models: Sequence[keras.Model | None],
    depth: int,
    history: History,
    listen: Listener,
) -> Metrics | None:
    """The test metrics of every replicate that reached this depth."""
    listen(PhaseStarted("scoring the test set", 0))
    return combine_metrics(
        [
            None if model is None else _test_scores(replica, model, depth, history)
            for replica, model in zip(replicas, models, strict=True)
        ]
    )


def _test_scores(
    replica: Replica, model: keras.Model, depth: int, history: History
) -> dict[str, float]:
    """The metrics of the network on the test rows; with what the objective says of its blocks,
    where they are as they grew."""
    data = replica.data
    assert data.test is not None
    scores = score(replica, model, depth, data.test)
    objective = replica.settings.objective(depth)
    if _kept_tuning(history) or data.labels is None or not has_score(objective):
        return scores
    blocks = [block.layer for block in path(replica.stages[:depth])]
    targets = targets_of(data, data.train.shape)
    return {**scores, **scored_by(objective, blocks, data.test.x, data.test.y, targets)}


def _kept_tuning(history: History) -> bool:
    return history.fine_tune is not None and bool(history.fine_tune["kept"])


def _known_test(history: History, depth: int) -> Metrics | None:
    """The chosen network's test metrics, where its stage was scored as the whole network is."""
    stage = history.stages[depth - 1]
    known = stage.objective == "supervised" and not _kept_tuning(history)
    return stage.test if known else None


def _values(metric: Metric) -> Sequence[float | None]:
    return metric["values"] if isinstance(metric, Mapping) else [metric]
