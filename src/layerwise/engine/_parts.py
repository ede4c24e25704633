"""Large arrays computed some of their parts at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Padding: TypeAlias = Sequence[tuple[int, int]]
"""Zeros before and after, of height and width; what is below 0 is cut off."""


def joined(part: Callable[[Any, int], Any], count: int, some: int, axis: int) -> Any:
    """What parts make, one after the other along an axis.

    Args:
        part: from a start and a size, of `count`, to an array as long along the axis.
        count: of all.
        some: how many at a time.
        axis: along which the parts are joined.
    """
    if some >= count:
        return part(0, count)
    full, rest = divmod(count, some)
    one = jax.eval_shape(lambda: part(0, some))
    shape = tuple(count if i == axis else size for i, size in enumerate(one.shape))
    # JAX does not annotate it. All of it is written below; zeros would be one more pass.
    empty: Any = lax.empty

    def put(i: Any, made: Any) -> Any:
        return lax.dynamic_update_slice_in_dim(made, part(i * some, some), i * some, axis)

    made = lax.fori_loop(0, full, put, empty(shape, one.dtype))
    if not rest:
        return made
    return lax.dynamic_update_slice_in_dim(made, part(full * some, rest), full * some, axis)


def summed(part: Callable[[Any, int], Any], count: int, some: int) -> Any:
    """The sum of what parts make; the arguments are those of `joined`."""
    if some >= count:
        return part(0, count)
    full, rest = divmod(count, some)
    total = lax.fori_loop(1, full, lambda i, sum_: sum_ + part(i * some, some), part(0, some))
    return total + part(full * some, rest) if rest else total


def count_within(images: Any, most: int) -> int:
    """How many images are no more than so many bytes, at least one."""
    return max(1, most * images.shape[0] // max(images.size * images.dtype.itemsize, 1))


def padded(images: Any, padding: Padding) -> Any:
    """Images (images, height, width, channels) with zeros around them."""
    none = (0, 0, 0)
    edges = [none, *((*side, 0) for side in padding), none]
    return lax.pad(images, jnp.zeros((), images.dtype), edges)


def made_by(images: Any, window: Sequence[int], padding: Padding) -> tuple[int, ...]:
    """Height and width of what a window makes of images, moving by one pixel."""
    edges = map(sum, padding)
    return tuple(n + e - w + 1 for n, e, w in zip(images.shape[1:3], edges, window, strict=True))
