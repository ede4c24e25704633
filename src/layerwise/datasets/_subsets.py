"""Other rows, labels or weights of the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._mapped import empty, joined
from layerwise.datasets._rows import stacked
from layerwise.datasets._split import Split, hold_out
from layerwise.errors import InputError, complaint
from layerwise.memory import is_mapped

if TYPE_CHECKING:
    from layerwise.datasets._dataset import Dataset

_CHUNK = 1024
"""Rows that are augmented at a time."""


def weighted(data: Dataset, class_weight: Mapping[Any, float]) -> Dataset:
    """Each training row's weight times that of its class."""
    classes = data.classes
    if classes is None:
        raise InputError("`class_weight` needs labels that are classes.")
    if set(class_weight) != set(classes.tolist()):
        raise InputError(
            complaint("class_weight", f"have the keys {classes.tolist()}", class_weight)
        )
    weights = np.array([class_weight[label] for label in classes.tolist()], np.float32)
    weight = weights[data.train.y]
    if data.train.sample_weight is not None:
        weight = weight * data.train.sample_weight
    return replace(data, train=Split(data.train.x, data.train.y, weight, data.train.whole))


def few_labels(data: Dataset, count: int, validation_split: float, seed: int) -> Dataset:
    """Only so many rows keep their label."""
    whole = data.train if data.validation is None else stacked(data.train, data.validation)
    if not 2 <= count < whole.rows:
        raise InputError(complaint("count", f"lie in 2 to {whole.rows - 1}", count))
    kind = data.labels.kind if data.labels else None
    rest, few = hold_out(whole, count, seed, kind)
    train, validation = hold_out(few, validation_split, seed, kind)
    more = rest.x if data.unlabeled is None else joined([rest.x, data.unlabeled.x])
    return replace(data, train=train, validation=validation, unlabeled=Split(more))


def sampled(data: Dataset, fraction: float, seed: int) -> Dataset:
    """A part of the training rows, and of those without labels."""
    kind = data.labels.kind if data.labels else None
    train, more = data.train, data.unlabeled
    how = ("search_fraction", "Take a larger part.")
    if more is not None and more.rows > 1:
        more = hold_out(more, fraction, seed, None, *how)[1]
    return replace(data, train=hold_out(train, fraction, seed, kind, *how)[1], unlabeled=more)


def augmented(data: Dataset, views: int, augment: Callable[[Any], Any]) -> Dataset:
    """So many augmented copies in place of each training row."""

    def copies(x: NDArray[Any]) -> NDArray[Any]:
        made = empty((views * len(x), *x.shape[1:]), x.dtype, mapped=is_mapped(x))
        for start in range(0, len(made), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(made))) % len(x)
            made[start : start + _CHUNK] = keras.ops.convert_to_numpy(augment(x[rows]))
        return made

    train, more = data.train, data.unlabeled
    y, weight = (
        None if part is None else np.concatenate([part] * views)
        for part in (train.y, train.sample_weight)
    )
    return replace(
        data,
        train=Split(copies(train.x), y, weight),
        unlabeled=None if more is None else Split(copies(more.x)),
    )
