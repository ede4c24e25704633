"""Which convolutions are computed as products of matrices, and how.

XLA's own convolution for a CPU reaches a third to a half of the speed of its product of two
matrices. Kernels of 3 x 3 over many channels multiply tiles, other kernels rows of the kernel. Of
sequences and of larger images XLA's own is as fast or faster.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from layerwise.engine import _columns, _winograd
from layerwise.engine._parts import Padding, made_by

IMAGE_BYTES = 1 << 21
"""The largest image that is unrolled."""
NUMBERS = 1024
"""Fewest numbers at one place of a kernel whose product is faster than XLA's convolution."""
CHANNELS = 16
"""Fewest channels of images with which the gradient of the kernel is faster."""
OVERHEAD = 1.25
"""Most rows that are multiplied for one that is wanted."""
TILED_NUMBERS = 2048
"""As `NUMBERS`, where tiles are faster."""
TILED_CHANNELS = 32
"""As `CHANNELS`, where tiles are faster."""
TILED_OVERHEAD = 1.35, 1.15
"""Most pixels of tiles for one that is wanted, of images and in the gradient of a kernel."""


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
        way = _way_of_gradient(x, g, edges)
        if way is None:
            return None
        result = way.correlated(x, g, edges, precision).transpose(2, 0, 1, 3)
    else:
        x = lhs.transpose(batch, *places, feature)
        kernel = rhs.transpose(*window, channel, out)
        way = _way(x, kernel, edges)
        if way is None:
            return None
        result = way.convolved(x, kernel, edges, precision)
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


def _way(x: Any, kernel: Any, padding: Padding) -> Any:
    """The fastest way to convolve images, or None for XLA's own."""
    channels, filters = kernel.shape[2:]
    numbers, made = channels * filters, made_by(x, kernel.shape[:2], padding)
    if not _fits(x):
        return None
    tiled = (
        kernel.shape[:2] == _winograd.WINDOW
        and channels >= TILED_CHANNELS
        and numbers >= TILED_NUMBERS
    )
    if tiled and _tiles(made) <= TILED_OVERHEAD[0]:
        return _winograd
    return _columns if numbers >= NUMBERS and x.shape[1] <= OVERHEAD * made[0] else None


def _way_of_gradient(x: Any, g: Any, padding: Padding) -> Any:
    """The fastest way to the gradient of a kernel, or None for XLA's own."""
    channels, filters, made = x.shape[-1], g.shape[-1], g.shape[1:3]
    if not _fits(x) or channels < CHANNELS or filters > 2 * channels:
        return None
    tiled = made_by(x, made, padding) == _winograd.WINDOW and channels >= TILED_CHANNELS
    if tiled and channels * filters >= NUMBERS and _tiles(made) <= TILED_OVERHEAD[1]:
        return _winograd
    return _columns if x.shape[1] <= OVERHEAD * made[0] else None


def _tiles(made: tuple[int, ...]) -> float:
    """Pixels of whole tiles for one that is wanted."""
    return math.prod(-(-size // 2) * 2 / size for size in made)


def _fits(x: Any) -> bool:
    return bool(x[:1].size * x.dtype.itemsize <= IMAGE_BYTES)
