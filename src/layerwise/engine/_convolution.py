"""Convolutions in the form of XLA's fast kernel on a CPU.

XLA's pass that brings convolutions into that form visits only the entry computation of a program.
Inside a loop body, the gradients of Keras' convolutions, which have unusual dimension orders, take
a naive path that is 60 to 70 times slower (jax issue 12868). So they are transposed to NHWC and
HWIO, convolved, and transposed back, which changes no number.

That kernel unrolls each patch into a row of a matrix. In the gradient of a convolution's weights
the patch is a whole image of every row of the batch, and the matrix far larger than any cache;
summed over a few images at a time, it takes a quarter of the time. The sum is then in another
order, and nearer to the exact one. Images that are larger than the cache are faster some at a time,
too.

Where kernels move by one pixel over many channels, products of matrices are faster than all that.
"""

from __future__ import annotations

import math
from typing import Any

import jax
from jax import lax

from layerwise.engine._parts import joined, summed
from layerwise.engine._products import as_product

PATCH = 4096
"""Numbers of a patch that the kernel unrolls fast."""
PART_BYTES = 1 << 23
"""How much of the images is convolved at a time; a smaller part stays in the cache."""


def convolve(lhs: Any, rhs: Any, *, dimension_numbers: Any, **parameters: Any) -> Any:
    """The same convolution, in parts where the whole is slow."""
    spec = dimension_numbers
    channels = rhs.shape[spec.rhs_spec[1]]
    window = math.prod(rhs.shape[i] for i in spec.rhs_spec[2:])
    grouped = parameters["feature_group_count"] > 1 or parameters["batch_group_count"] > 1
    # Rows that several devices share cannot be cut into parts without moving them.
    if grouped or jax.device_count() > 1:
        return _transposed(lhs, rhs, spec, parameters)
    product = as_product(lhs, rhs, spec, parameters)
    if product is not None:
        return product
    some = max(1, PATCH // max(window, 1))
    if window * channels >= 4 * PATCH and some < channels:
        return _by_channels(lhs, rhs, spec, parameters, some)
    images = lhs.shape[spec.lhs_spec[0]]
    some = max(1, PART_BYTES * images // max(lhs.size * lhs.dtype.itemsize, 1))
    if some * 2 <= images and window > 1:
        return _by_images(lhs, rhs, spec, parameters, some)
    return _transposed(lhs, rhs, spec, parameters)


def _by_channels(lhs: Any, rhs: Any, spec: Any, parameters: dict[str, Any], some: int) -> Any:
    """A sum over parts of the channels of a patch."""
    across, down = spec.lhs_spec[1], spec.rhs_spec[1]

    def part(start: Any, size: int) -> Any:
        of_lhs = lax.dynamic_slice_in_dim(lhs, start, size, across)
        of_rhs = lax.dynamic_slice_in_dim(rhs, start, size, down)
        return _transposed(of_lhs, of_rhs, spec, parameters)

    return summed(part, rhs.shape[down], some)


def _by_images(lhs: Any, rhs: Any, spec: Any, parameters: dict[str, Any], some: int) -> Any:
    """Some images at a time, written where they belong."""
    batch = spec.lhs_spec[0]

    def part(start: Any, size: int) -> Any:
        return _transposed(lax.dynamic_slice_in_dim(lhs, start, size, batch), rhs, spec, parameters)

    return joined(part, lhs.shape[batch], some, spec.out_spec[0])


def _transposed(lhs: Any, rhs: Any, spec: Any, parameters: dict[str, Any]) -> Any:
    """The same convolution on operands transposed to NHWC and HWIO, transposed back."""
    spatial = range(2, lhs.ndim)
    # Each spec lists where batch, feature, spatial axes stand; for the kernel: out, in, spatial.
    channels_last = [0, *spatial, 1]
    canonical_lhs = [spec.lhs_spec[i] for i in channels_last]
    canonical_rhs = [*(spec.rhs_spec[i] for i in spatial), spec.rhs_spec[1], spec.rhs_spec[0]]
    canonical_out = [spec.out_spec[i] for i in channels_last]
    last = lhs.ndim - 1
    order = lax.ConvDimensionNumbers(
        lhs_spec=(0, last, *range(1, last)),
        rhs_spec=(last, last - 1, *range(last - 1)),
        out_spec=(0, last, *range(1, last)),
    )
    result = lax.conv_general_dilated_p.bind(
        lax.transpose(lhs, canonical_lhs),
        lax.transpose(rhs, canonical_rhs),
        dimension_numbers=order,
        **parameters,
    )
    back = [0] * lhs.ndim
    for here, there in enumerate(canonical_out):
        back[there] = here
    return lax.transpose(result, back)
