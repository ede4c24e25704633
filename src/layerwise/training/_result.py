"""What a training hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from layerwise import depth as depths
from layerwise.datasets import Dataset
from layerwise.errors import InputError, complaint
from layerwise.growth import Stage, audit, path, stitch
from layerwise.history import History, Metrics
from layerwise.objectives import Supervised
from layerwise.training._assemble import assembler
from layerwise.training._replica import Replica
from layerwise.training._settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(repr=False)
class TrainResult:
    """The networks that were grown, the one that was chosen, and the record of it all.

    Attributes:
        history: the record; `history.to_frame()`, `history.plot()`, `history.to_json()`.
        models: the network at the chosen depth of each replicate, fine-tuned if that was kept;
            None for a replicate that diverged before that depth.
        classes: the labels in the order of the model's outputs; None for values or without labels.
        run_dir: the run folder, or None.
    """

    history: History
    models: list[keras.Model | None]
    classes: Any
    run_dir: Path | None
    best: int = 0
    """Which of `models` is `model`: the replicate with the best monitored metric."""
    _replicas: Sequence[Replica] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"TrainResult({depths.explain(self.history)})"

    @property
    def model(self) -> keras.Model:
        """The chosen network: a plain Keras model, compiled, ready for `predict` and `save`."""
        model = self.models[self.best]
        assert model is not None
        return model

    @property
    def selected_depth(self) -> int:
        """How many blocks the chosen network has."""
        chosen = self.history.selected_depth
        assert chosen is not None
        return chosen

    @property
    def test(self) -> Metrics | None:
        """The metrics of the chosen model on the test data, or None without test data."""
        return self.history.test

    def model_at(self, depth: int) -> keras.Model:
        """The network as it stood at a depth, counted from 1, before any fine-tuning.

        Raises:
            InputError: that depth was not reached.
        """
        replica = self._replicas[self.best]
        if not 1 <= depth <= len(replica.stages):
            raise InputError(complaint("depth", f"lie in 1 to {len(replica.stages)}", depth))
        return network(replica, depth)

    @property
    def blocks(self) -> list[keras.Layer]:
        """The blocks of the network at the chosen depth, from the lowest up, before any
        fine-tuning."""
        stages = self._replicas[self.best].stages[: self.selected_depth]
        return [block.layer for block in path(stages)]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the monitored metric by depth and return the matplotlib axes."""
        return self.history.plot(ax)


def network(replica: Replica, depth: int) -> keras.Model:
    """The stitched and compiled network of one replicate at a depth.

    Raises:
        FreezeError: a block changed since it froze.
    """
    stages = replica.stages[:depth]
    audit(stages)
    data = replica.data
    model = _stitched(replica, stages)
    _compile(model, data, replica.settings, depth)
    return model


def untrained(replica: Replica, depth: int, seed: int) -> keras.Model:
    """The same architecture as `network` with freshly drawn weights."""
    return _stitched(replica, replica.stages[:depth], seed=seed)


def _stitched(replica: Replica, stages: Sequence[Stage], *, seed: int | None = None) -> keras.Model:
    data, objective = replica.data, replica.settings.objective(len(stages))
    shape, dtype = tuple(data.train.x.shape[1:]), str(data.train.x.dtype)
    assemble = assembler(objective, data)
    return stitch(stages, stages[-1].predictor, shape, dtype, seed=seed, assemble=assemble)


def _compile(model: keras.Model, data: Dataset, settings: Settings, depth: int) -> None:
    """Compile for `evaluate` and further `fit`, as far as there are labels to predict."""
    if data.labels is None:
        return
    optimizer = settings.optimizer(depth)
    optimizer.build(model.trainable_variables)
    staged = settings.objective(depth)
    objective = staged if isinstance(staged, Supervised) else settings.predictor
    classes = data.classes is not None
    loss = objective.loss_on_numbers(classes, model.output_shape[-1])
    model.compile(optimizer, loss=loss, metrics=["accuracy" if classes else "mean_squared_error"])


def best_replicate(values: Sequence[float | None], higher: bool) -> int:
    """The index of the best finite value; 0 where there is none."""
    finite: Mapping[int, float] = {i: v for i, v in enumerate(values) if v is not None}
    if not finite:
        return 0
    return (max if higher else min)(finite, key=lambda index: finite[index])
