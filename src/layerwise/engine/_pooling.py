"""The gradient of max pooling in a form that XLA compiles to plain loops on a CPU.

XLA takes it apart into a reduction that carries the position of the largest number along, and a
scatter: together they cost as much as a convolution. Written as one comparison a place of the
window, all of it is one or two passes over the image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

LARGEST = 32
"""Places of a window that are compared one by one; XLA's own form serves larger ones."""


def max_gradient(
    gradient: Any,
    image: Any,
    *,
    select_prim: Any,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> Any:
    """Each number of the gradient goes to where its window is largest: of equals, to the first."""
    if select_prim is not lax.ge_p or math.prod(window_dimensions) > LARGEST:
        return lax.select_and_scatter_add_p.bind(
            gradient,
            image,
            select_prim=select_prim,
            window_dimensions=window_dimensions,
            window_strides=window_strides,
            padding=padding,
        )
    places = list(itertools.product(*map(range, window_dimensions)))
    chosen = _first_largest(image, places, gradient.shape, window_strides, padding)
    total = jnp.zeros(image.shape, gradient.dtype)
    zero = jnp.zeros((), gradient.dtype)
    for number, place in enumerate(places):
        spread = [
            (at - low, size + low - at - (steps - 1) * stride - 1, stride - 1)
            for at, size, steps, stride, (low, _) in zip(
                place, image.shape, gradient.shape, window_strides, padding, strict=True
            )
        ]
        total += lax.pad(jnp.where(chosen == number, gradient, zero), zero, spread)
    return total


def _first_largest(
    image: Any,
    places: Sequence[tuple[int, ...]],
    shape: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> Any:
    """For each window, which of its places holds the largest number."""
    lowest = jnp.array(-jnp.inf, image.dtype)
    padded = lax.pad(image, lowest, [(before, after, 0) for before, after in padding])

    def at(place: tuple[int, ...]) -> Any:
        ends = [
            start + (steps - 1) * stride + 1
            for start, steps, stride in zip(place, shape, strides, strict=True)
        ]
        return lax.slice(padded, place, ends, strides)

    largest = at(places[0])
    chosen = jnp.zeros(largest.shape, jnp.int8)
    for number, place in enumerate(places[1:], 1):
        value = at(place)
        # As XLA compares: what is not a number gives way to what comes after it.
        stays = largest >= value
        largest = jnp.where(stays, largest, value)
        chosen = jnp.where(stays, chosen, jnp.int8(number))
    return chosen
