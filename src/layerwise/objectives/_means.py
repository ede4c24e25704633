"""Means over the rows of a batch."""

from __future__ import annotations

from keras import ops

from layerwise._typing import Array


def mean_over_rows(per_row: Array, sample_weight: Array | None) -> Array:
    """The mean, weighted as Keras' losses do: divided by the number of rows.

    Args:
        per_row: `(batch, ...)`; further axes are averaged first.
        sample_weight: `(batch,)` or None.
    """
    while len(per_row.shape) > 1:
        per_row = ops.mean(per_row, axis=-1)
    if sample_weight is not None:
        per_row = per_row * ops.cast(sample_weight, per_row.dtype)
    return ops.mean(per_row)
