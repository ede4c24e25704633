"""Whether a column gives the target away."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.tables._column import Column
from layerwise.tables._target import Target

_EQUAL = 1e-9
"""How far a correlation may be from 1 for two columns to be the same up to scale and shift."""

_A_LOOK = 1000
"""Rows that tell at little cost that most columns have more different values than classes."""


def tells_the_target(column: Column, labels: NDArray[Any], target: Target) -> bool:
    """Whether a column is the target, or a one-to-one recoding of it, in these rows.

    Values that all differ are one-to-one with anything, as row numbers are; so for a target of
    values the column must repeat itself, or be a straight line of the target.
    """
    if target.classes is not None:
        few = np.arange(min(len(labels), _A_LOOK))
        if _numbered(column.take(few)).max() >= len(target.classes):
            return False
    numbers, counts = _numbered(column), _inverse(labels)
    kinds, classes = int(numbers.max()) + 1, int(counts.max()) + 1
    pairs = len(np.unique(numbers.astype(np.int64) * classes + counts))
    one_to_one = kinds == classes == pairs
    if target.classes is not None:
        return one_to_one
    if one_to_one and 2 * kinds <= len(labels):
        return True
    if not column.numeric or np.isnan(column.values).any():
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        correlation = np.corrcoef(column.values, labels.astype(np.float64))[0, 1]
    return bool(kinds > 2 and abs(correlation) > 1 - _EQUAL)


def _numbered(column: Column) -> NDArray[np.intp]:
    """Each value as the number of its kind; missing ones are a kind as well."""
    if column.numeric:
        return _inverse(column.values)
    return _inverse(np.array(["" if text is None else f"={text}" for text in column.values]))


def _inverse(values: NDArray[Any]) -> NDArray[np.intp]:
    return np.unique(values, return_inverse=True)[1].reshape(-1)
