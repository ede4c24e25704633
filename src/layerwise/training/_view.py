"""The data of one growing network as its next stage sees them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import keras

from layerwise._typing import Shape
from layerwise.datasets import Dataset, Split
from layerwise.engine import Engine, layer_key
from layerwise.features import Features, Store
from layerwise.growth import Stage
from layerwise.objectives import Objective, Targets, stage_target, takes_sample_weight


class UnusableFeaturesError(Exception):
    """Features are not finite, so that no stage can train on them."""


class View:
    """Cached features as `x`, and what the objective wants as `y`.

    Features are computed when rows are asked for: a stage that is taken from its checkpoint
    needs their shape alone.

    Args:
        data: the data set.
        splits: which of its splits stages are scored on; `train` among them.
        engine: what computes features.
        store: where features go; None for memory.
    """

    def __init__(
        self, data: Dataset, splits: Sequence[str], engine: Engine, store: Store | None = None
    ) -> None:
        self.data = data
        self._raw = {name: split for name, split in data.splits.items() if name in splits}
        origin = "" if store is None else data.fingerprint
        self._features = Features(self._raw, store, origin)
        self._engine = engine
        self._passed: list[Stage] = []
        self._shapes: list[Shape] = []
        """After each of them."""
        self.shape: Shape = tuple(data.train.x.shape[1:])
        """Of one sample's features."""
        self.dtype = str(data.train.x.dtype)
        """Of the features."""

    @property
    def names(self) -> list[str]:
        """The splits that are there."""
        return list(self._raw)

    def rows(self, name: str, objective: Objective) -> Split:
        """A split as the objective's loss gets it."""
        self._catch_up()
        raw = self._raw[name]
        weight = raw.sample_weight if takes_sample_weight(objective) else None
        target = stage_target(objective, raw.x, raw.y, self.targets())
        return Split(self._features[name].x, target, weight)

    def targets(self) -> Targets:
        """What is predicted from these features."""
        return targets_of(self.data, self.shape)

    def advance(self, stage: Stage) -> None:
        """See the output of a frozen block from now on, unless that was so already."""
        if len(self._passed) >= stage.depth:
            return
        self._passed.append(stage)
        seen = keras.KerasTensor((None, *self.shape), dtype=self.dtype)
        output = stage.block.compute_output_spec(seen)
        self.shape, self.dtype = tuple(output.shape[1:]), str(output.dtype)
        self._shapes.append(self.shape)

    def _catch_up(self) -> None:
        """Pass the features through the blocks that they have not passed yet."""
        if len(self._passed) > self._features.depth:
            ahead = self._passed[self._features.depth :]
            self._features.recall([_identity(stage) for stage in ahead])
        for stage in self._passed[self._features.depth :]:
            shape = self._shapes[self._features.depth]
            self._features.advance(self._engine.forward(stage.block), shape, _identity(stage))
        if not self._features.finite:
            raise UnusableFeaturesError(
                f"the features that the block of depth {self._features.depth} gives are not finite"
            )

    def forget(self) -> None:
        """Remove what an earlier session may have cached on the way: the run is finished."""
        self._features.forget([_identity(stage) for stage in self._passed])


def _identity(stage: Stage) -> str:
    """What tells a frozen block from every other; empty where its configuration cannot tell.

    Equal weights do not make equal features: the activation may differ.
    """
    key = layer_key(stage.block)
    return "" if key is None else sha256(f"{stage.digest} {key}".encode()).hexdigest()


def targets_of(data: Dataset, input_shape: Shape) -> Targets:
    """What is predicted from inputs of this shape."""
    labels = data.labels
    return Targets(
        kind=None if labels is None else labels.kind,
        shape=() if labels is None else labels.shape,
        n_classes=None if labels is None or labels.classes is None else len(labels.classes),
        input_shape=input_shape,
        data_shape=tuple(data.train.x.shape[1:]),
    )
