"""Max pooling and its gradient in forms that XLA compiles to plain loops on a CPU.

XLA takes the gradient apart into a reduction that carries the position of the largest number along,
and a scatter: together they cost as much as a convolution. Written as one comparison a place of the
window, all of it is one or two passes over the image; so is pooling itself, which XLA computes
window by window. The gradient of average pooling sums windows that hold one number each.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend import core

LARGEST = 32
"""Places of a window that are compared one by one; XLA's own form serves larger ones."""


def max_pooled(
    image: Any,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    base_dilation: Sequence[int],
    window_dilation: Sequence[int],
) -> Any:
    """The largest number of each window."""
    dilated = any(step != 1 for step in (*base_dilation, *window_dilation))
    if dilated or math.prod(window_dimensions) > LARGEST or not _has_infinity(image):
        return lax.reduce_window_max_p.bind(
            image,
            window_dimensions=window_dimensions,
            window_strides=window_strides,
            padding=padding,
            base_dilation=base_dilation,
            window_dilation=window_dilation,
        )
    padded = _padded(image, padding)
    shape = [
        (size - window) // stride + 1
        for size, window, stride in zip(
            padded.shape, window_dimensions, window_strides, strict=True
        )
    ]
    places = itertools.product(*map(range, window_dimensions))
    return functools.reduce(
        jnp.maximum, (_seen(padded, place, shape, window_strides) for place in places)
    )


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
    padded = _padded(image, padding)
    largest = _seen(padded, places[0], shape, strides)
    chosen = jnp.zeros(largest.shape, jnp.int8)
    for number, place in enumerate(places[1:], 1):
        value = _seen(padded, place, shape, strides)
        # As XLA compares: what is not a number gives way to what comes after it.
        stays = largest >= value
        largest = jnp.where(stays, largest, value)
        chosen = jnp.where(stays, chosen, jnp.int8(number))
    return chosen


def is_spread(made_by: core.JaxprEqn | None, parameters: Mapping[str, Any]) -> bool:
    """Whether each window that is summed holds one number at most, and zeros.

    Args:
        made_by: the equation that made what is summed; None where there was none.
        parameters: of the sum over windows.
    """
    steps = (*parameters["window_strides"], *parameters["base_dilation"])
    if made_by is None or made_by.primitive is not lax.pad_p or {*steps} != {1}:
        return False
    zero = made_by.invars[1]
    gaps = [between + 1 for _, _, between in made_by.params["padding_config"]]
    windows = parameters["window_dimensions"]
    return (
        {*parameters["window_dilation"]} == {1}
        and isinstance(zero, core.Literal)
        and not zero.val
        and all(window <= gap for window, gap in zip(windows, gaps, strict=True))
    )


def sum_of_spread(
    image: Any,
    *,
    window_dimensions: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **parameters: Any,
) -> Any:
    """Sums over windows one axis after another; the same bits where each holds one number."""
    for axis, size in enumerate(window_dimensions):
        if size > 1:
            image = lax.reduce_window_sum_p.bind(
                image,
                window_dimensions=_at(axis, size, [1] * image.ndim),
                padding=_at(axis, padding[axis], [(0, 0)] * image.ndim),
                **parameters,
            )
    return image


def _at(axis: int, value: Any, others: list[Any]) -> tuple[Any, ...]:
    return (*others[:axis], value, *others[axis + 1 :])


def _has_infinity(image: Any) -> bool:
    return bool(jnp.issubdtype(image.dtype, jnp.floating))


def _padded(image: Any, padding: Sequence[tuple[int, int]]) -> Any:
    lowest = jnp.array(-jnp.inf, image.dtype)
    return lax.pad(image, lowest, [(before, after, 0) for before, after in padding])


def _seen(padded: Any, place: Sequence[int], shape: Sequence[int], strides: Sequence[int]) -> Any:
    """What stands at one place of each window."""
    ends = [
        start + (steps - 1) * stride + 1
        for start, steps, stride in zip(place, shape, strides, strict=True)
    ]
    return lax.slice(padded, place, ends, strides)
