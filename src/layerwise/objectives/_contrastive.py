"""Contrastive stages: two views of a row belong together, and to no other row of the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError
from layerwise.objectives._checks import above_0, one_of, rate, whole
from layerwise.objectives._described import Described
from layerwise.objectives._heads import projector
from layerwise.objectives._protocol import Targets
from layerwise.objectives._views import two_views


class Contrastive(Described, name="contrastive"):
    """Tell each row's other view from all other rows of the batch (InfoNCE).

    With `of="views"` a row is seen twice: through `augment=` where the run has it, else with each
    time other features masked. Both pass the block and a projection head; the similarity is a
    cosine over `temperature`, and all other rows in both views are the negatives. With
    `of="patches"` images are cut into a grid of patches that pass the block one by one, and each
    patch's output predicts, by a linear map, that of the patch below it among those of the batch.

    Args:
        of: `"views"` or `"patches"`.
        temperature: above 0; of views alone.
        corruption: the rate in [0, 1) of masked features; of views without `augment=`.
        projection: the width of the projection head; of views alone.
        grid: patches a side; of patches alone.

    Raises:
        InputError: an argument is out of range; or patches of what is no image, or of an image
            whose sides the grid does not divide.

    Example:
        >>> from layerwise import Contrastive
        >>> Contrastive(temperature=0.2)
        Contrastive(temperature=0.2)

    References: Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of
    Visual Representations, 2020, for views; Lowe, O'Connor, Veeling, Putting An End to End-to-End,
    2019, Greedy InfoMax, for patches. There patches overlap by half and predict up to five rows
    ahead from an averaged context; here they do not overlap and predict one row ahead.
    """

    def __init__(
        self,
        of: Literal["views", "patches"] = "views",
        *,
        temperature: float = 0.5,
        corruption: float = 0.2,
        projection: int = 128,
        grid: int = 4,
    ) -> None:
        super().__init__(
            of=of, temperature=temperature, corruption=corruption, projection=projection, grid=grid
        )
        self._of_views = one_of("of", of, ("views", "patches")) == "views"
        self._temperature = above_0("temperature", temperature)
        self._corruption = rate("corruption", corruption)
        self._width, self._grid = whole("projection", projection, 1), whole("grid", grid, 2)

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        if self._of_views:
            return projector(feature_shape, self._width)
        self._check_image(targets.input_shape)
        # On vectors: the patches' outputs are averaged over their positions.
        head = keras.layers.Dense(feature_shape[-1], use_bias=False)
        head.build((None, feature_shape[-1]))
        return head

    def loss(
        self,
        block: keras.Layer,
        head: keras.Layer,
        x: Array,
        y: Array | None,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        again: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        if not self._of_views:
            return self._of_patches(block, head, x, training)
        first, second = (
            _unit(head(block(view, training=training), training=training))
            for view in two_views(x, again, self._corruption, seed, training)
        )
        rows = ops.shape(first)[0]
        both = ops.concatenate([first, second], axis=0)
        scores = ops.matmul(both, ops.transpose(both)) / self._temperature
        # A row is not told from itself.
        scores = scores - 1e9 * ops.eye(2 * rows, dtype=scores.dtype)
        other = ops.concatenate([ops.arange(rows) + rows, ops.arange(rows)], axis=0)
        return _told_apart(scores, other)

    def _of_patches(
        self, block: keras.Layer, head: keras.Layer, x: Array, training: bool
    ) -> tuple[Array, Mapping[str, Any]]:
        grid = self._grid
        output = block(_patches(x, grid), training=training)
        if 0 in output.shape[1:]:
            raise InputError(
                f'Contrastive(of="patches", grid={grid}): nothing is left of a patch behind the '
                f"block, whose output has the shape {tuple(output.shape[1:])}. Pass a smaller "
                "`grid`."
            )
        if len(output.shape) > 2:
            output = ops.mean(output, axis=tuple(range(1, len(output.shape) - 1)))
        cells = ops.reshape(output, (-1, grid, grid, output.shape[-1]))
        above = ops.reshape(cells[:, :-1], (-1, output.shape[-1]))
        below = ops.reshape(cells[:, 1:], (-1, output.shape[-1]))
        scores = ops.matmul(head(above), ops.transpose(below))
        return _told_apart(scores, ops.arange(ops.shape(scores)[0]))

    def _check_image(self, shape: Shape) -> None:
        grid = self._grid
        if len(shape) != 3 or any(not size or size % grid for size in shape[:2]):
            raise InputError(
                f'Contrastive(of="patches", grid={grid}) needs images whose sides {grid} divides. '
                f'Received features of shape {shape}. Pass another `grid`, or `of="views"`.'
            )


def _unit(z: Array) -> Array:
    return z * ops.rsqrt(ops.sum(ops.square(z), axis=-1, keepdims=True) + 1e-8)


def _patches(x: Array, grid: int) -> Array:
    """`(batch, height, width, channels)` to `(batch * grid * grid, ...)`, row by row."""
    height, width, channels = (int(size) for size in x.shape[1:])
    tall, wide = height // grid, width // grid
    cells = ops.reshape(x, (-1, grid, tall, grid, wide, channels))
    return ops.reshape(ops.transpose(cells, (0, 1, 3, 2, 4, 5)), (-1, tall, wide, channels))


def _told_apart(scores: Array, answer: Array) -> tuple[Array, Mapping[str, Any]]:
    """Cross-entropy of picking the right column of each row, and how often it was picked."""
    loss = ops.mean(ops.sparse_categorical_crossentropy(answer, scores, from_logits=True))
    guess = ops.cast(ops.argmax(scores, axis=-1), answer.dtype)
    hits = ops.mean(ops.cast(ops.equal(guess, answer), scores.dtype))
    return loss, {"contrastive_accuracy": hits}
