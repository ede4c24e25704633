"""Listeners that tell a tracker of a run."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerwise.errors import InputTypeError, MissingDependencyError, complaint
from layerwise.history import Metrics, score_of
from layerwise.progress import Event, RunFinished, StageFinished

_FILES = "events.out.tfevents.*"


class TensorBoard:
    """Writes the scalars of a run for TensorBoard, when each stage ends.

    `stage/validation/accuracy` and the like have the depth as their step; with replicates they are
    the means. `epoch/loss`, `epoch/val_loss` and the like have the epoch, counted over all stages.
    `test/accuracy`, of the chosen network, stands at its depth.

    Each stage has a file of its own, whole before the next one trains; one that a resume takes from
    its checkpoint is not written again. Needs tensorboardX: `pip install "layerwise[tensorboard]"`.

    Args:
        log_dir: a folder, made where it is missing; one for each run.

    Raises:
        MissingDependencyError: tensorboardX is not installed.

    Example:
        >>> import keras, layerwise
        >>> result = layerwise.train(
        ...     layerwise.load_dataset("wine"), epochs=2, max_depth=2, verbose=0,
        ...     block=lambda depth: keras.layers.Dense(4, "relu"),
        ...     listeners=layerwise.TensorBoard("logs/wine"))
    """

    def __init__(self, log_dir: str | Path) -> None:
        if not isinstance(log_dir, str | os.PathLike):
            raise InputTypeError(complaint("log_dir", "be a folder", log_dir))
        if importlib.util.find_spec("tensorboardX") is None:
            raise MissingDependencyError(
                '`TensorBoard` needs tensorboardX. Run `pip install "layerwise[tensorboard]"`.'
            )
        self.log_dir = Path(log_dir)
        self._epochs = 0

    def __call__(self, event: Event) -> None:
        """Take in an event of a run."""
        if isinstance(event, StageFinished):
            record = event.history["stages"][-1]
            if record["depth"] == 1:
                self._epochs = 0
            name = f".stage-{record['depth']:04d}"
            if not (event.restored and any(self.log_dir.glob(f"{_FILES}{name}"))):
                with self._file(name) as writer:
                    self._write_stage(writer, record)
            self._epochs += max(map(len, record["curves"].values()), default=0)
        elif isinstance(event, RunFinished) and event.history["stages"]:
            with self._file(".end") as writer:
                depth = event.history["selected_depth"]
                if depth is not None:
                    _write_metrics(writer, "test", event.history["test"], depth)
                writer.add_text("explanation", event.explanation, len(event.history["stages"]))

    @contextmanager
    def _file(self, suffix: str) -> Iterator[Any]:
        """A file of its own: tensorboardX writes in a thread, which only closing waits for."""
        module: Any = importlib.import_module("tensorboardX")
        writer = module.SummaryWriter(str(self.log_dir), filename_suffix=suffix)
        try:
            yield writer
        finally:
            writer.close()

    def _write_stage(self, writer: Any, record: Mapping[str, Any]) -> None:
        for split in ("train", "validation", "test"):
            _write_metrics(writer, f"stage/{split}", record[split], record["depth"])
        writer.add_scalar("stage/seconds", record["seconds"], record["depth"])
        for name, values in record["curves"].items():
            for epoch, value in enumerate(values, self._epochs + 1):
                if value is not None:
                    writer.add_scalar(f"epoch/{name}", value, epoch)


def _write_metrics(writer: Any, where: str, metrics: Metrics | None, step: int) -> None:
    for name, metric in (metrics or {}).items():
        score = score_of(metric)
        if score is not None:
            writer.add_scalar(f"{where}/{name}", score.mean, step)
