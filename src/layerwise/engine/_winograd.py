"""Convolutions by kernels of 3 x 3 with 4 of 9 multiplications (Winograd's minimal filtering).

A tile of 2 x 2 outputs sees 4 x 4 pixels. Sums and differences of those, multiplied by such of the
kernel at 16 places one by one, and summed again, give the tile: 16 products where 36 were. Over
many tiles and channels each place is a product of two matrices. The tile is the smallest: its sums
are so short that the error, against float64, is no larger than that of XLA's own convolution.

Lavin and Gray, 2015, "Fast algorithms for convolutional neural networks" (arXiv 1509.09308).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import lax

from layerwise.engine._parts import Padding, count_within, joined, made_by, padded, summed

WINDOW = 3, 3
"""The kernels that are multiplied so."""
PART_BYTES = 1 << 21
"""How much of the images is taken at a time."""

Grid: TypeAlias = Sequence[Sequence[Any]]
"""Rows of arrays, one for each place of a tile or a kernel."""


def convolved(x: Any, kernel: Any, padding: Padding, precision: Any) -> Any:
    """What `_columns.convolved` makes, of a kernel of 3 x 3."""
    channels, filters = kernel.shape[2:]
    height, width = made_by(x, WINDOW, padding)
    places = _both_ways(_of_kernel, list(kernel))

    def part(start: Any, size: int) -> Any:
        pixels = _pixels(lax.dynamic_slice_in_dim(x, start, size), padding)
        down, across = pixels[0][0].shape[1:3]
        products = _of_pairs(
            lambda a, b: lax.dot(a.reshape(-1, channels), b, precision=precision),
            _both_ways(_of_image, pixels),
            places,
        )
        tile = [
            jnp.stack([made.reshape(size, down, across, filters) for made in row], 3)
            for row in _both_ways(_of_output, products)
        ]
        made = jnp.stack([row.reshape(size, down, -1, filters) for row in tile], 2)
        return made.reshape(size, 2 * down, -1, filters)[:, :height, :width]

    return joined(part, x.shape[0], count_within(x, PART_BYTES), 0)


def correlated(x: Any, g: Any, padding: Padding, precision: Any) -> Any:
    """What `_columns.correlated` makes, of a kernel of 3 x 3."""
    channels, filters = x.shape[-1], g.shape[-1]
    unit = jnp.eye(filters, dtype=g.dtype)

    def part(start: Any, size: int) -> Any:
        images, gradients = (lax.dynamic_slice_in_dim(a, start, size) for a in (x, g))
        gradients = padded(gradients, [(0, size % 2) for size in g.shape[1:3]])
        # XLA multiplies a matrix that lies transposed at half the speed, and transposes one slowly
        # itself: a product with 1 turns it, once for all 16 places.
        turned = [
            [_turned(unit, gradients[:, i::2, j::2].reshape(-1, filters)) for j in (0, 1)]
            for i in (0, 1)
        ]
        seen = _both_ways(_of_image, _pixels(images, padding))
        given = _both_ways(_of_gradient, turned)
        products = _of_pairs(
            lambda a, b: lax.dot(b, a.reshape(-1, channels), precision=precision), seen, given
        )
        return jnp.stack([jnp.stack(row) for row in products])

    total = summed(part, x.shape[0], count_within(x, PART_BYTES))
    kernel = _both_ways(_of_sum, list(total))
    return jnp.stack([jnp.stack(row) for row in kernel]).transpose(0, 1, 3, 2)


def _pixels(x: Any, padding: Padding) -> Grid:
    """What the tiles see, pixel by pixel: 4 x 4 arrays (images, tiles down, across, channels)."""
    tiles = [-(-size // 2) for size in made_by(x, WINDOW, padding)]
    edges = [
        (before, 2 * count + 2 - size - before)
        for count, size, (before, _) in zip(tiles, x.shape[1:3], padding, strict=True)
    ]
    x, (down, across) = padded(x, edges), tiles
    return [
        [x[:, i : i + 2 * down - 1 : 2, j : j + 2 * across - 1 : 2] for j in range(4)]
        for i in range(4)
    ]


def _both_ways(along: Callable[..., Sequence[Any]], grid: Grid) -> Grid:
    """What becomes of a grid's rows, and then of the columns."""
    columns = zip(*(along(*row) for row in grid), strict=True)
    return list(zip(*(along(*column) for column in columns), strict=True))


def _of_pairs(function: Callable[[Any, Any], Any], left: Grid, right: Grid) -> Grid:
    """What a function makes of the pairs at equal places."""
    return [[*map(function, *rows)] for rows in zip(left, right, strict=True)]


# The columns below are those of the paper's F(2, 3): its B, G and A, and for the gradient, which
# goes through the same steps backwards, their transposes.


def _of_image(a: Any, b: Any, c: Any, d: Any) -> Sequence[Any]:
    return a - c, b + c, c - b, b - d


def _of_kernel(a: Any, b: Any, c: Any) -> Sequence[Any]:
    ends = a + c
    return a, (ends + b) / 2, (ends - b) / 2, c


def _of_output(a: Any, b: Any, c: Any, d: Any) -> Sequence[Any]:
    return a + b + c, b - c - d


def _of_gradient(a: Any, b: Any) -> Sequence[Any]:
    return a, a + b, a - b, -b


def _of_sum(a: Any, b: Any, c: Any, d: Any) -> Sequence[Any]:
    half = (b + c) / 2
    return a + half, (b - c) / 2, half + d


def _turned(unit: Any, matrix: Any) -> Any:
    return lax.dot_general(unit, matrix, (((1,), (1,)), ((), ())))
