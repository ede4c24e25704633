"""The data of one growing network as its next stage sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from layerwise._typing import Array, Shape, Tree
from layerwise.datasets import Dataset, Split
from layerwise.engine import Engine
from layerwise.errors import InputError
from layerwise.features import Store
from layerwise.growth import Decode, Frozen, Prefix, attach, duplicate
from layerwise.objectives import (
    Objective,
    Targets,
    check_values,
    has_target,
    needs_targets,
    stage_target,
    takes,
)
from layerwise.training._lazy_features import LazyFeatures, decoder
from layerwise.training._meter import Meter


class View:
    """Cached features as `x`, and what the objective wants as `y`.

    With `augment` no features are cached: rows are the raw data, and `prefix` is what every batch
    of them passes first.

    Args:
        data: the data set.
        splits: which of its splits stages are scored on; `train` among them.
        engine: what computes features.
        store: where features go; None for memory.
        augment: makes the augmentation of the training rows, from a seed; None for none.
        views: from the rows of a split to the views that every stage trains on; None for the
            rows themselves.
        views_name: tells these views from others of the same data.
        meter: told what caching costs.
        cache_dtype: what features are stored as; None as the blocks give them.
    """

    def __init__(
        self,
        data: Dataset,
        splits: Sequence[str],
        engine: Engine,
        store: Store | None = None,
        augment: Callable[[int], keras.Layer] | None = None,
        views: Callable[[Split], Mapping[str, Array]] | None = None,
        views_name: str = "",
        meter: Meter | None = None,
        cache_dtype: str | None = None,
    ) -> None:
        self.data = data
        self._raw = {name: split for name, split in data.splits.items() if name in splits}
        self._raw["train"] = data.pool if views is None else data.train
        self._views: list[str] = []
        first = self._raw if views is None else self._seen_as(views)
        origin = "" if store is None else f"{data.fingerprint}{views_name}{data.part}"
        meter = meter or Meter(engine)
        self.features = LazyFeatures(first, store, origin, engine, meter, cache_dtype)
        self._augment = augment

    @property
    def names(self) -> list[str]:
        """The splits that are there."""
        return list(self._raw)

    @property
    def has_views(self) -> bool:
        """Whether rows are views that an objective made of the data."""
        return bool(self._views)

    def rows(self, name: str, objective: Objective) -> Split:
        """A split as the objective's loss gets it."""
        if self._augment is None:
            self.features.catch_up()
        raw = self.source(name, objective)
        target = target_of(objective, raw, self.targets())
        weight = raw.sample_weight if takes(objective, "sample_weight") else None
        if self._views:
            seen: Any = {view: self.features[f"{name}/{view}"] for view in self._views}
        else:
            whole = self.features[name] if self._augment is None else self._raw[name].stored
            seen = whole[: raw.here]
        return Split(seen, target, weight, raw.whole)

    def _seen_as(self, views: Callable[[Split], Mapping[str, Array]]) -> dict[str, Split]:
        """Each view of each split, as features of their own; "train" stands for the longest."""
        seen = {name: views(split) for name, split in self._raw.items()}
        self._views = list(seen["train"])
        flat = {f"{n}/{v}": Split(x) for n, found in seen.items() for v, x in found.items()}
        shapes = {split.shape for split in flat.values()}
        if len(shapes) > 1:
            raise InputError(f"The views of an objective must have one shape. Received: {shapes}.")
        return flat

    def source(self, name: str, objective: Objective) -> Split:
        """The raw rows of a split that an objective uses: without need of labels, the pool."""
        return self.data.train if name == "train" and needs_targets(objective) else self._raw[name]

    def check(self, objective: Objective, rows: Split) -> None:
        """Raise `InputError` where the objective cannot use rows of this view."""
        coding = self.features.coding
        if coding is None or not (coding.pixels or coding.span is not None):
            check_values(objective, rows.x, rows.y)
            return
        some = coding.extremes(tuple(n or 1 for n in self.features.shape))
        seen = dict.fromkeys(self._views, some) if self._views else some
        check_values(objective, seen, rows.y)

    def prefix(self, seed: int) -> keras.Layer | None:
        """What every batch passes before the blocks that train; None where it passes nothing."""
        if self._augment is None:
            coding = self.features.coding
            return None if coding is None else decoder(coding)
        raw = self._raw["train"]
        shape: Shape = raw.shape
        dtype, blocks = raw.dtype, []
        augment = self._augment(seed)
        augmented = attach(augment, shape, dtype, "`augment`")
        if augmented != shape:
            raise InputError(
                f"`augment` must leave the shape of a row as it is, {shape}, out of training too. "
                f"Received: {augmented}. For crops of padded images take "
                "`keras.layers.RandomTranslation`."
            )
        for block in self.features.blocks:
            layer, shape = duplicate(block.layer, shape, dtype)
            dtype = layer.compute_dtype
            blocks.append(layer)
        return Prefix(augment, blocks, Decode(pixels=True) if raw.pixels else None)

    def targets(self) -> Targets:
        """What is predicted from these features."""
        return targets_of(self.data, self.features.shape)

    def beyond(self, blocks: Sequence[Frozen]) -> View:
        """A view of the output of these blocks, while this one stays where it is."""
        if self._augment is None:
            self.features.catch_up()
        other = copy.copy(self)
        other.features = self.features.fork()
        other.features.advance(blocks)
        return other


def target_of(objective: Objective, rows: Split, targets: Targets) -> Tree:
    """What the objective's loss gets as `y`; images become numbers only where it wants them."""
    return stage_target(objective, rows.x, rows.y, targets) if has_target(objective) else rows.y


def targets_of(data: Dataset, input_shape: Shape) -> Targets:
    """What is predicted from inputs of this shape."""
    labels = data.labels
    return Targets(
        kind=None if labels is None else labels.kind,
        shape=() if labels is None else labels.shape,
        n_classes=None if labels is None or labels.classes is None else len(labels.classes),
        input_shape=input_shape,
        data_shape=data.train.shape,
    )
