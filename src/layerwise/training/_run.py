"""One run from settings to result, told to whoever listens."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

import layerwise
from layerwise import depth as depths
from layerwise import plots, signals
from layerwise.checkpoint import RunFolder
from layerwise.datasets import Dataset
from layerwise.display import display
from layerwise.errors import InputError
from layerwise.growth import audit
from layerwise.history import History, RunStopReason
from layerwise.objectives import name_of
from layerwise.progress import Event, Listener, RunFinished, RunStarted, StageFinished
from layerwise.training._finish import finish
from layerwise.training._loop import grow
from layerwise.training._replica import Replica
from layerwise.training._result import TrainResult
from layerwise.training._settings import Settings


def run(
    data: Dataset,
    settings: Settings,
    *,
    run_dir: str | Path | RunFolder | None = None,
    verbose: str | int = "auto",
) -> TrainResult:
    """Grow, choose, finish; write the run folder and show progress where asked.

    Args:
        data: with its splits.
        settings: checked.
        run_dir: where the run leaves its files, or None.
        verbose: as in `train`.
    """
    replicas = [Replica(i, data, settings) for i in range(settings.replicates)]
    # The first stage is grown before anything is written: it proves that the arguments fit.
    metrics = replicas[0].prepare()
    history = History(
        depth_rule=str(settings.depth_rule), monitor=_monitor(settings.monitor, metrics, data)
    )
    folder = RunFolder(Path(run_dir)) if isinstance(run_dir, str | Path) else run_dir
    with display(verbose) as show:
        listeners: list[Listener] = [show] if folder is None else [folder.listen, show]

        def listen(event: Event) -> None:
            signals.check()
            for listener in listeners:
                listener(event)

        largest = min(settings.max_depth, settings.blocks.count or settings.max_depth)
        facts = {} if folder is None else _facts(data, settings)
        pictures = {} if folder is None else _pictures(data)
        listen(RunStarted(facts, history.monitor, largest, settings.replicates, pictures))
        try:
            for _ in grow(replicas, settings, history, listen):
                listen(StageFinished(history.to_dict()))
            for replica in replicas:
                audit(replica.stages)
            result = finish(replicas, data, settings, history, listen)
        except (KeyboardInterrupt, signals.Stopped):
            history.stop_reason = RunStopReason.INTERRUPTED
            for listener in listeners:
                listener(RunFinished(history.to_dict(), "The run was interrupted."))
            raise
        if folder is not None:
            for replica in replicas:
                audit(replica.stages)
            folder.keep_model(result.model)
            result.run_dir = folder.path
        listen(RunFinished(history.to_dict(), depths.explain(history)))
    return result


def _monitor(given: str | None, metrics: Sequence[str], data: Dataset) -> str:
    """The monitored metric as `split.metric`."""
    split = "train" if data.validation is None else "validation"
    if given is None:
        wanted = "loss"
        if data.labels is not None:
            wanted = "mean_squared_error" if data.classes is None else "accuracy"
    else:
        wanted = given.removeprefix(f"{split}.")
    if wanted not in metrics:
        raise InputError(
            f"`monitor` must name a metric that the stages report on {split}: "
            f"{', '.join(metrics)}. Received: {given!r}."
        )
    return f"{split}.{wanted}"


def _facts(data: Dataset, settings: Settings) -> dict[str, Any]:
    """What was asked, on which data, with which versions: the content of `run.json`."""
    return {
        "schema": 1,
        "seed": settings.seed,
        "replicates": settings.replicates,
        "engine": settings.engine.name,
        "backend": keras.backend.backend(),
        "depth_rule": str(settings.depth_rule),
        "head": settings.head,
        "max_depth": settings.max_depth,
        "stages": _of_the_first_stage(settings),
        "data": data.describe(),
        "versions": {
            "layerwise": layerwise.__version__,
            "python": platform.python_version(),
            "keras": keras.version(),
        },
    }


def _of_the_first_stage(settings: Settings) -> dict[str, Any]:
    """What a stage is trained with; deeper ones may differ where the user gave a callable."""
    optimizer = settings.optimizer(1)
    return {
        "objective": name_of(settings.objective(1)),
        "optimizer": type(optimizer).__name__,
        "epochs": settings.epochs(1),
        "batch size": settings.batch_size(1),
    }


def _pictures(data: Dataset) -> dict[str, str]:
    """Two columns with classes can be shown as they are."""
    if data.classes is None or data.train.x.shape[1:] != (2,):
        return {}
    points = {name: (split.x, split.y) for name, split in data.splits.items()}
    return {"The data": plots.scatter(points, [str(label) for label in data.classes])}
