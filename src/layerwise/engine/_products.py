"""Convolutions as products of matrices, some images at a time.

XLA's own convolution for a CPU reaches a third of the speed of its product of two matrices. Here
the images are copied once for each column of the kernel, which stand side by side then, multiplied
once by all rows of the kernel, and what the rows made is shifted and summed. For a kernel of 3 x 3
that moves half of what copying all nine places would, and of some images at a time all of it stays
in the cache. Of sequences and of larger images XLA's own is as fast or faster.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import jax.numpy as jnp
from jax import lax

from layerwise.engine._parts import joined, summed

PART_BYTES = 1 << 19
"""How much of the images is unrolled at a time."""
IMAGE_BYTES = 1 << 21
"""The largest image that is unrolled."""
NUMBERS = 1024
"""Fewest numbers at one place of a kernel whose product is faster than XLA's convolution."""
CHANNELS = 16
"""Fewest channels of images with which the gradient of the kernel is faster."""
OVERHEAD = 1.25
"""Most rows that are multiplied for one that is wanted."""

Padding = tuple[tuple[int, int], tuple[int, int]]


def as_product(lhs: Any, rhs: Any, spec: Any, parameters: dict[str, Any]) -> Any:
    """A convolution, or None where a product of matrices cannot give it, or is not faster.

    Args:
        lhs, rhs: arrays.
        spec: where their batches, channels and places stand, as `lax.ConvDimensionNumbers`.
        parameters: the others of `lax.conv_general_dilated_p`.
    """
    if not _is_plain(lhs, rhs, parameters):
        return None
    (batch, feature, *places), (out, channel, *window) = spec.lhs_spec, spec.rhs_spec
    edges, precision = parameters["padding"], parameters["precision"]
    made = math.prod(
        lhs.shape[i] + sum(edge) - rhs.shape[k] + 1
        for i, k, edge in zip(places, window, edges, strict=True)
    )
    # The gradient of a kernel is a convolution too: of the images with all gradients as one kernel,
    # summed over the images, which stand where channels do.
    if math.prod(rhs.shape[k] for k in window) > made:
        x = lhs.transpose(feature, *places, batch)
        g = rhs.transpose(channel, *window, out)
        if not _gains_gradient(x, g):
            return None
        result = correlated(x, g, edges, precision).transpose(2, 0, 1, 3)
    else:
        x = lhs.transpose(batch, *places, feature)
        kernel = rhs.transpose(*window, channel, out)
        if not _gains(x, kernel, edges):
            return None
        result = convolved(x, kernel, edges, precision)
    standing = (spec.out_spec[0], *spec.out_spec[2:], spec.out_spec[1])
    return result.transpose([standing.index(i) for i in range(4)])


def _is_plain(lhs: Any, rhs: Any, parameters: dict[str, Any]) -> bool:
    """Whether a kernel moves over images by one pixel, and all numbers are of one full type."""
    wanted = parameters["preferred_element_type"]
    steps = (parameters[name] for name in ("window_strides", "lhs_dilation", "rhs_dilation"))
    return (
        lhs.ndim == 4
        and all(step == 1 for each in steps for step in each)
        and lhs.dtype == rhs.dtype == (wanted or lhs.dtype)
        and lhs.dtype in (jnp.float32, jnp.float64)
    )


def _gains(x: Any, kernel: Any, padding: Padding) -> bool:
    rows, _, channels, filters = kernel.shape
    made = x.shape[1] + sum(padding[0]) - rows + 1
    return _fits(x) and channels * filters >= NUMBERS and x.shape[1] <= OVERHEAD * made


def _gains_gradient(x: Any, g: Any) -> bool:
    channels, filters = x.shape[-1], g.shape[-1]
    enough = channels >= CHANNELS and filters <= 2 * channels
    return _fits(x) and enough and x.shape[1] <= OVERHEAD * g.shape[1]


def _fits(x: Any) -> bool:
    return bool(x[:1].size * x.dtype.itemsize <= IMAGE_BYTES)


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
        images = _padded(lax.dynamic_slice_in_dim(x, start, size), ((0, 0), across))
        unrolled = _unrolled(images, columns)
        made = lax.dot(unrolled.reshape(-1, unrolled.shape[-1]), matrix, precision=precision)
        made = made.reshape(*unrolled.shape[:-1], rows, filters)
        moved = (
            _padded(made[:, :, :, i], ((before - i, after - (rows - 1 - i)), (0, 0)))
            for i in range(rows)
        )
        return functools.reduce(operator.add, moved)

    return joined(part, x.shape[0], _some(x), 0)


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
        unrolled = _unrolled(_padded(images, ((0, 0), across)), columns)
        gradients = _padded(gradients, ((rows - 1 - before, rows - 1 - after), (0, 0)))
        seen = [gradients[:, i : i + x.shape[1]] for i in reversed(range(rows))]
        # XLA multiplies a matrix that lies transposed at half the speed, unless it is a copy.
        turned = copied(jnp.concatenate(seen, -1).reshape(-1, rows * filters).T)
        return lax.dot(turned, unrolled.reshape(-1, columns * channels), precision=precision)

    total = summed(part, x.shape[0], _some(x))
    return total.reshape(rows, filters, columns, channels).transpose(0, 2, 3, 1)


def _padded(x: Any, padding: Padding) -> Any:
    none = (0, 0, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), [none, *((*side, 0) for side in padding), none])


def _unrolled(x: Any, columns: int) -> Any:
    """The pixels that each position of the kernel's columns sees, side by side."""
    width = x.shape[2] - columns + 1
    if columns == 1:
        return x
    return jnp.concatenate([x[:, :, j : j + width] for j in range(columns)], -1)


def _some(x: Any) -> int:
    """How many images are taken at a time."""
    return max(1, PART_BYTES * x.shape[0] // max(x.size * x.dtype.itemsize, 1))
