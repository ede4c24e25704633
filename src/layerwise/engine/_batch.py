"""What passes through a compiled program, and how batches are taken from rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
from jax import lax

State: TypeAlias = dict[str, Any]
"""`trainable`, `frozen` (statistics and random states), `optimizer`, `metrics`: lists of arrays."""
Data: TypeAlias = Mapping[str, Any]


def rows_of(data: Data) -> int:
    """How many rows there are."""
    return int(jax.tree.leaves(data)[0].shape[0])


def batch_of(data: Data, order: Any, start: Any, size: int) -> Data:
    """So many rows, those that the order names from a place on."""
    rows = lax.dynamic_slice_in_dim(order, start, size)
    return jax.tree.map(lambda array: array.at[rows].get(mode="promise_in_bounds"), data)


def slice_of(data: Data, start: Any, size: int) -> Data:
    """So many rows, one after the other."""
    return jax.tree.map(lambda array: lax.dynamic_slice_in_dim(array, start, size), data)
