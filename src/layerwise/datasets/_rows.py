"""From what users pass to splits: pairs, rows without labels, rows of two splits as one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._arrays import Labels, read_x, to_numpy
from layerwise.datasets._mapped import cast, joined, taken
from layerwise.datasets._split import Split
from layerwise.errors import InputError, InputTypeError, complaint


def stacked(one: Split, other: Split) -> Split:
    """The rows of both; a weight of 1 where one of them has none."""
    weights = [split.sample_weight for split in (one, other)]
    weight = None
    if any(found is not None for found in weights):
        pairs = zip(weights, (one, other), strict=True)
        weight = np.concatenate(
            [np.ones(split.rows, np.float32) if w is None else w for w, split in pairs]
        )
    y = None if one.y is None else np.concatenate([one.y, other.y])
    return Split(joined([one.stored, other.stored]), y, weight, pixels=one.pixels)


def pair(
    given: Any, labels: Labels | None, name: str, whole: Split, limit: int | None = None
) -> Split | None:
    """Read a `(x, y)` that must look like the training data."""
    if given is None:
        return None
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InputTypeError(complaint(name, "be a pair (x, y)", type(given).__name__))
    x, y = given
    if labels is not None and y is None:
        raise InputError(f"`{name}` must have labels, as the training data have.")
    y = y if labels is not None else None
    return like(read(x, y, labels, f"{name} ", limit=limit), whole, name)


def like(split: Split, whole: Split, name: str) -> Split:
    """Make sure that rows look like the training rows."""
    if split.shape != whole.shape:
        raise InputError(
            f"`{name}` must have samples of shape {whole.shape}, as the training data. "
            f"Received {split.shape}."
        )
    return Split(cast(split.stored, whole.dtype), split.y)


def without_label(
    x: Any, y: Any, sample_weight: Any, marker: Any
) -> tuple[NDArray[Any], NDArray[Any], Any, NDArray[Any] | None]:
    """Take the rows whose label is `marker` out; give what is left, and their features."""
    if y is None:
        raise InputError("`unlabeled_label` marks rows in `y`. Pass `y`.")
    rows, labels = read_x(x), to_numpy(y, "y")
    if labels.ndim != 1 or len(labels) != len(rows):
        raise InputError(
            "`unlabeled_label` needs one label for each row. "
            f"Received {len(rows)} rows and labels of shape {labels.shape}."
        )
    missing = labels == marker
    if missing.all():
        raise InputError(f"Every label is {marker!r}, the `unlabeled_label`: none is left.")
    weight = None if sample_weight is None else to_numpy(sample_weight, "sample_weight")
    if weight is not None and weight.shape == missing.shape:
        weight = weight[~missing]
    more = taken(rows, missing) if missing.any() else None
    return taken(rows, ~missing), labels[~missing], weight, more


def with_more(marked: NDArray[Any] | None, more: Any) -> NDArray[Any]:
    other = read_x(more, "unlabeled x")
    if marked is None:
        return other
    if other.shape[1:] != marked.shape[1:]:
        raise InputError(
            f"`unlabeled` must have samples of shape {marked.shape[1:]}, as the training data. "
            f"Received {other.shape[1:]}."
        )
    return joined([marked, other])


def read(
    x: Any,
    y: Any,
    labels: Labels | None,
    prefix: str,
    sample_weight: Any = None,
    limit: int | None = None,
) -> Split:
    features = read_x(x, f"{prefix}x", limit)
    encoded = None if labels is None else labels.encode(y, f"{prefix}y")
    if encoded is not None and len(encoded) != len(features):
        raise InputError(
            f"`{prefix}x` and `{prefix}y` must have equally many rows. "
            f"Received {len(features)} and {len(encoded)}."
        )
    if sample_weight is None:
        return Split(features, encoded)
    try:
        weight = to_numpy(sample_weight, "sample_weight").astype(np.float32)
    except (ValueError, TypeError) as error:
        raise InputTypeError(f"`sample_weight` must hold numbers: {error}.") from error
    usable = weight.shape == (len(features),) and np.isfinite(weight).all()
    if not usable or (weight < 0).any() or not weight.any():
        raise InputError(
            "`sample_weight` must be one finite number of 0 or more for each row, not all 0. "
            f"Received shape {weight.shape} for {len(features)} rows."
        )
    return Split(features, encoded, weight)
