"""What the units of a first layer look for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise._typing import Array
from layerwise.plots._axes import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def filters(kernel: Any, ax: Axes | None = None, most: int = 64) -> Axes:
    """The weights of a layer as small images, side by side.

    Each is scaled by its own largest weight, so that grey is 0 (without colours), or middle grey.

    Args:
        kernel: `(height, width, channels, units)`; 1 channel is drawn in grey, 3 in colours, of any
            other number their mean.
        ax: to draw on; default: a new figure.
        most: units that are drawn, from the first.

    Returns:
        The axes, with one image: rows of tiles, a pixel between them.
    """
    tiles = _tiles(np.asarray(kernel, dtype=np.float64)[..., :most])
    mosaic = _mosaic(tiles)
    height, width = mosaic.shape[:2]
    ax = axes_for(ax, (6.0, max(6.0 * height / width, 1.0)))
    if mosaic.shape[-1] == 1:
        ax.imshow(mosaic[..., 0], cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    else:
        ax.imshow(mosaic, interpolation="nearest")
    ax.set_axis_off()
    shown, units = len(tiles), np.shape(kernel)[-1]
    ax.set_title(f"{shown} of {units} units" if shown < units else f"{units} units", fontsize=9)
    return ax


def _tiles(kernel: Array) -> Array:
    """`(units, height, width, 1 or 3)` from 0 to 1, where 0.5 is a weight of 0."""
    if kernel.shape[2] not in (1, 3):
        kernel = kernel.mean(axis=2, keepdims=True)
    largest = np.abs(kernel).max(axis=(0, 1, 2), keepdims=True)
    scaled = 0.5 + 0.5 * kernel / np.where(largest > 0, largest, 1.0)
    return np.moveaxis(scaled, -1, 0)


def _mosaic(tiles: Array) -> Array:
    """Rows of tiles, nearly a square of them, with a white line between."""
    count, height, width, channels = tiles.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    whole = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, channels))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        whole[top : top + height, left : left + width] = tile
    return whole
