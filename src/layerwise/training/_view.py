"""The data of one growing network as its next stage sees them."""

from __future__ import annotations

from collections.abc import Sequence

from layerwise._typing import Shape
from layerwise.datasets import Dataset, Split
from layerwise.engine import Engine
from layerwise.features import Features
from layerwise.growth import Stage
from layerwise.objectives import Objective, Targets, stage_target, takes_sample_weight


class View:
    """Cached features as `x`, and what the objective wants as `y`.

    Args:
        data: the data set.
        splits: which of its splits stages are scored on; `train` among them.
    """

    def __init__(self, data: Dataset, splits: Sequence[str]) -> None:
        self.data = data
        self._raw = {name: split for name, split in data.splits.items() if name in splits}
        self._features = Features(self._raw)

    @property
    def names(self) -> list[str]:
        """The splits that are there."""
        return list(self._raw)

    @property
    def depth(self) -> int:
        """How many blocks the features have passed."""
        return self._features.depth

    @property
    def shape(self) -> Shape:
        """The shape of one sample's features."""
        return tuple(self._features["train"].x.shape[1:])

    @property
    def dtype(self) -> str:
        """The type of the features."""
        return str(self._features["train"].x.dtype)

    def rows(self, name: str, objective: Objective) -> Split:
        """A split as the objective's loss gets it."""
        raw = self._raw[name]
        weight = raw.sample_weight if takes_sample_weight(objective) else None
        target = stage_target(objective, raw.x, raw.y)
        return Split(self._features[name].x, target, weight)

    def targets(self) -> Targets:
        """What is predicted from these features."""
        return targets_of(self.data, self.shape)

    def advance(self, engine: Engine, stage: Stage) -> None:
        """Replace the features by the output of a frozen block, unless they have passed it."""
        if self.depth < stage.depth:
            shape = stage.block.compute_output_shape((None, *self.shape))
            self._features.advance(engine.forward(stage.block), tuple(shape[1:]))


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
