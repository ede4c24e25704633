"""Convolutions as products of matrices, one row of the kernel at a time.

The images are copied once for each column of the kernel, which stand side by side then, multiplied
once by all rows of the kernel, and what the rows made is shifted and summed. For a kernel of 3 x 3
that moves half of what copying all nine places would, and of some images at a time all of it stays
in the cache.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import jax.numpy as jnp
from jax import lax

from layerwise.engine._parts import Padding, count_within, joined, padded, summed

PART_BYTES = 1 << 19
"""How much of the images is unrolled at a time."""


def convolved(x: Any, kernel: Any, padding: Padding, precision: Any) -> Any:
    """Images convolved with a kernel, in steps of one pixel.

    Args:
        x: (images, height, width, channels).
        kernel: (height, width, channels, filters).
        padding: zeros before and after, of height and width; what is below 0 is cut off.
        precision: of the products, as XLA has it.

    Returns:
        (images, height, width, filters).
    """
    rows, columns, channels, filters = kernel.shape
    matrix = kernel.transpose(1, 2, 0, 3).reshape(columns * channels, rows * filters)
    # Rows of zeros around the images would be multiplied for nothing: what a row of the kernel made
    # moves over the edge instead.
    (before, after), across = padding

    def part(start: Any, size: int) -> Any:
        images = padded(lax.dynamic_slice_in_dim(x, start, size), ((0, 0), across))
        unrolled = _unrolled(images, columns)
        made = lax.dot(unrolled.reshape(-1, unrolled.shape[-1]), matrix, precision=precision)
        made = made.reshape(*unrolled.shape[:-1], rows, filters)
        moved = (
            padded(made[:, :, :, i], ((before - i, after - (rows - 1 - i)), (0, 0)))
            for i in range(rows)
        )
        return functools.reduce(operator.add, moved)

    return joined(part, x.shape[0], count_within(x, PART_BYTES), 0)


def correlated(x: Any, g: Any, padding: Padding, precision: Any) -> Any:
    """The gradient of a convolution's kernel, for steps of one pixel.

    Args:
        x: (images, height, width, channels), what was convolved.
        g: (images, height, width, filters), the gradient of what was made of it.
        padding: of `x`, as in the convolution.
        precision: of the products, as XLA has it.

    Returns:
        (height, width, channels, filters).
    """
    rows = x.shape[1] + sum(padding[0]) - g.shape[1] + 1
    columns = x.shape[2] + sum(padding[1]) - g.shape[2] + 1
    channels, filters = x.shape[-1], g.shape[-1]
    # As above: zeros around the gradient stand for rows of zeros around the images.
    (before, after), across = padding
    # JAX does not annotate it.
    copied: Any = lax.optimization_barrier

    def part(start: Any, size: int) -> Any:
        images, gradients = (lax.dynamic_slice_in_dim(a, start, size) for a in (x, g))
        unrolled = _unrolled(padded(images, ((0, 0), across)), columns)
        gradients = padded(gradients, ((rows - 1 - before, rows - 1 - after), (0, 0)))
        seen = [gradients[:, i : i + x.shape[1]] for i in reversed(range(rows))]
        # XLA multiplies a matrix that lies transposed at half the speed, unless it is a copy.
        turned = copied(jnp.concatenate(seen, -1).reshape(-1, rows * filters).T)
        return lax.dot(turned, unrolled.reshape(-1, columns * channels), precision=precision)

    total = summed(part, x.shape[0], count_within(x, PART_BYTES))
    return total.reshape(rows, filters, columns, channels).transpose(0, 2, 3, 1)


def _unrolled(x: Any, columns: int) -> Any:
    """The pixels that each position of the kernel's columns sees, side by side."""
    width = x.shape[2] - columns + 1
    if columns == 1:
        return x
    return jnp.concatenate([x[:, :, j : j + width] for j in range(columns)], -1)
