"""Other rows, labels or weights of the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._fingerprint import every_split
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
    """The same data with each training row's weight multiplied by that of its class.

    Raises:
        InputError: there are no classes, or a label is unknown or has no weight.
    """
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
    return replace(data, train=replace(data.train, sample_weight=weight))


def of_pixels(data: Dataset) -> Dataset:
    """The same data, whose bytes stand for numbers from 0 to 1."""
    splits: dict[str, Any] = {
        name: replace(split, pixels=True) for name, split in every_split(data).items()
    }
    return replace(data, **splits)


def few_labels(data: Dataset, count: int, validation_split: float, seed: int) -> Dataset:
    """Only so many rows keep their label."""
    whole = data.train if data.validation is None else stacked(data.train, data.validation)
    if not 2 <= count < whole.rows:
        raise InputError(complaint("count", f"lie in 2 to {whole.rows - 1}", count))
    kind = data.labels.kind if data.labels else None
    rest, few = hold_out(whole, count, seed, kind)
    train, validation = hold_out(few, validation_split, seed, kind)
    stored = rest.stored
    if data.unlabeled is not None:
        stored = joined([stored, data.unlabeled.stored])
    unlabeled = Split(stored, pixels=rest.pixels)
    return replace(data, train=train, validation=validation, unlabeled=unlabeled)


def sampled(data: Dataset, fraction: float, seed: int = 0) -> Dataset:
    """The same data with a part of the training rows, in the shares of the classes.

    Args:
        data: as it is.
        fraction: of the training rows, and of those without labels; between 0 and 1.
        seed: which they are.

    Raises:
        InputError: so few rows hold some class no more.
    """
    kind = data.labels.kind if data.labels else None
    train, more = data.train, data.unlabeled
    how = ("search_fraction", "Take a larger part.")
    if more is not None and more.rows > 1:
        more = hold_out(more, fraction, seed, None, *how)[1]
    return replace(data, train=hold_out(train, fraction, seed, kind, *how)[1], unlabeled=more)


def augmented(data: Dataset, views: int, augment: Callable[[Any], Any]) -> Dataset:
    """The same data with augmented copies of each training row in place of the row.

    Args:
        data: as it is.
        views: how many.
        augment: from some rows to as many.
    """

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


def share_of(
    data: Dataset, bounds: Callable[[int], tuple[int, int]], limit: int | None = None
) -> Dataset:
    """One process's share of the rows of every split; it still tells of all of them.

    Args:
        data: of all processes together.
        bounds: from which of so many rows to before which this process has them.
        limit: of the memory of a whole run, in bytes: what is too large for it lies on disk, as
            shares of mapped arrays do in any case.
    """
    shares: dict[str, Any] = {
        name: split.share(*bounds(split.rows), limit) for name, split in data.splits.items()
    }
    start, stop = bounds(data.train.rows)
    return replace(data, told=data.fingerprint, part=f"{start}:{stop}", **shares)
