"""What a result draws of its network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from layerwise import plots
from layerwise._typing import Array
from layerwise.errors import InputError, complaint
from layerwise.growth import stitch
from layerwise.training._assemble import assembler
from layerwise.training._replica import Replica
from layerwise.training._settings import whole_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_embedding(
    replica: Replica, depth: int, split: str | None, max_rows: int, ax: Axes | None
) -> Axes:
    """`TrainResult.plot_embedding` of one replicate."""
    data = replica.data
    name = split or ("train" if data.validation is None else "validation")
    if name not in data.splits:
        raise InputError(complaint("split", f"be one of {', '.join(data.splits)}", split))
    rows = data.splits[name]
    most = whole_number("max_rows", max_rows, 2)
    chosen = np.linspace(0, rows.rows - 1, min(most, rows.rows)).round().astype(int)
    stages = replica.stages[:depth]
    assemble = assembler(replica.settings.objective(depth), data)
    trunk = stitch(stages, None, rows.shape, rows.dtype, assemble=assemble)
    shown = rows.take(chosen)
    features = trunk.predict(shown.x, verbose=0)
    classes = None if data.classes is None else [str(label) for label in data.classes]
    ax = plots.embedding(features, shown.y, classes, ax)
    ax.set_title(f"{len(chosen):,} rows of {name} at depth {depth}", fontsize=9)
    return ax


def draw_filters(
    model: keras.Model, image_shape: tuple[int, ...] | None, most: int, ax: Axes | None
) -> Axes:
    """`TrainResult.plot_filters` of one model."""
    most = whole_number("most", most, 1)
    layer = next((layer for layer in model._flatten_layers() if hasattr(layer, "kernel")), None)
    if isinstance(layer, keras.layers.Conv2D):
        return plots.filters(keras.ops.convert_to_numpy(layer.kernel), ax, most)
    if not isinstance(layer, keras.layers.Dense):
        kind = "none" if layer is None else type(layer).__name__
        raise InputError(f"Filters can be drawn of Dense and Conv2D. The first layer is {kind}.")
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    height, width, channels = _image(kernel, image_shape, tuple(model.input_shape[1:]))
    return plots.filters(kernel.reshape(height, width, channels, -1), ax, most)


def _image(kernel: Array, given: Any, seen: tuple[int | None, ...]) -> tuple[int, int, int]:
    """Height, width and channels of what a unit sees: given, or the data's, or a square."""
    inputs = kernel.shape[0]
    shape = tuple(seen if given is None and len(seen) > 1 else given or ())
    if not shape:
        for channels in (1, 3):
            side = math.isqrt(inputs // channels)
            if side**2 * channels == inputs:
                shape = (side, side, channels)
                break
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or math.prod(side or 0 for side in shape) != inputs:
        expected = f"be (height, width) or (height, width, channels) of {inputs} numbers"
        advice = "It is needed where the rows are no images and no squares."
        raise InputError(complaint("image_shape", expected, given, advice if given is None else ""))
    height, width, channels = (int(side or 0) for side in shape)
    return height, width, channels


class Pictures:
    """The pictures of a `TrainResult`, which has the rest."""

    history: Any
    best: int
    model: Any
    selected_depth: Any
    _replicas: Any

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the monitored metric by depth; `history.plot_depth` has the details."""
        return self.history.plot_depth(ax)

    def plot_embedding(
        self, split: str | None = None, ax: Axes | None = None, *, max_rows: int = 2000
    ) -> Axes:
        """Draw rows at the first two principal components of their features at the chosen depth.

        The features are those of the blocks before any fine-tuning, as `model_at` has them.

        Args:
            split: `"train"`, `"validation"` or `"test"`; default: validation where there is one.
            ax: matplotlib axes to draw on; default: those of a new figure, which pyplot does not
                know.
            max_rows: of more rows so many are taken, evenly.

        Returns:
            The axes: classes have colours of their own; values are a scale of colours.

        Raises:
            InputError: there is no such split.

        Example:
            >>> import keras, layerwise
            >>> result = layerwise.train(
            ...     layerwise.load_dataset("wine"), epochs=2, max_depth=1, verbose=0,
            ...     block=lambda depth: keras.layers.Dense(8, "relu"))
            >>> result.plot_embedding("test").get_title()
            '45 rows of test at depth 1'
        """
        return draw_embedding(self._replicas[self.best], self.selected_depth, split, max_rows, ax)

    def plot_filters(
        self,
        ax: Axes | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        most: int = 64,
    ) -> Axes:
        """Draw the weights of the chosen network's first Dense or Conv2D layer as images.

        Each image is scaled by its own largest weight; middle grey is 0. Of a kernel with other
        than 1 or 3 channels the mean over the channels is drawn.

        Args:
            ax: matplotlib axes to draw on; default: those of a new figure, which pyplot does not
                know.
            image_shape: `(height, width)` or `(height, width, channels)` of a row, for Dense on
                flat rows; default: the shape of the data, or a square.
            most: units that are drawn.

        Returns:
            The axes, with one image.

        Raises:
            InputError: the first layer is another one, or its inputs are no such images.

        Example:
            >>> import keras, layerwise
            >>> result = layerwise.train(
            ...     layerwise.load_dataset("digits"), epochs=1, max_depth=1, verbose=0,
            ...     block=lambda depth: keras.layers.Dense(9, "relu"))
            >>> result.plot_filters().images[0].get_array().shape  # 3 x 3 tiles of 8 x 8
            (26, 26)
        """
        return draw_filters(self.model, image_shape, most, ax)
