"""One part of a data set, and how rows are dealt to the parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise._random import Stream, derive
from layerwise._typing import Tree
from layerwise.datasets._mapped import numbers, own, taken
from layerwise.errors import InputError


@dataclass(frozen=True)
class Split:
    """Rows that belong together: `x`, perhaps `y`, perhaps a weight for each row.

    Every array has the same number of rows on its first axis.
    """

    stored: Tree
    """What `x` is made from: `x` itself, or the bytes of images."""
    y: Tree = None
    sample_weight: NDArray[np.floating] | None = None
    whole: int | None = None
    """How many rows all processes have together, where these are the share of one of them."""
    pixels: bool = False
    """Whether `stored` are bytes, of which 255 stands for 1: a quarter of the memory of `x`."""

    @property
    def x(self) -> Tree:
        """The rows as numbers. Of images a new array at each call, which cannot be written to."""
        return numbers(self.stored) if self.pixels else self.stored

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(keras.tree.flatten(self.stored)[0].shape[1:])

    @property
    def dtype(self) -> str:
        """Of the numbers in `x`."""
        return "float32" if self.pixels else str(keras.tree.flatten(self.stored)[0].dtype)

    @property
    def rows(self) -> int:
        """How many samples, of all processes together."""
        return self.here if self.whole is None else self.whole

    @property
    def here(self) -> int:
        """How many samples this process has."""
        return int(keras.tree.flatten(self.stored)[0].shape[0])

    def share(self, start: int, stop: int, limit: int | None = None) -> Split:
        """One process's share: a copy of the rows from `start` to before `stop`.

        It lies on disk as for `take`.
        """
        return replace(self._each(lambda array: own(array, start, stop, limit)), whole=self.rows)

    def tree(self) -> dict[str, Tree]:
        """The parts that are there, by name, as they are stored."""
        parts = {"x": self.stored, "y": self.y, "sample_weight": self.sample_weight}
        return {name: part for name, part in parts.items() if part is not None}

    def take(self, rows: NDArray[np.integer], limit: int | None = None) -> Split:
        """The same parts, of these rows; on disk where they are mapped, or too large for `limit`.

        Args:
            rows: their numbers.
            limit: of the memory of a whole run, in bytes; None for none.
        """
        return self._each(lambda array: taken(array, rows, limit))

    def as_numbers(self) -> Split:
        """The same rows, images as numbers from 0 to 1."""
        return replace(self, stored=self.x, pixels=False)

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Split:
        """Every part changed; rows of its own, not the share of a whole."""
        parts = keras.tree.map_structure(change, self.tree())
        return Split(parts.pop("x"), **parts, pixels=self.pixels)


def hold_out(
    split: Split,
    fraction: float | int,
    seed: int,
    kind: Literal["classes", "values"] | None,
    name: str = "validation_split",
    advice: str = "Pass `validation_data=` to use rows of your own, or `validation_split=0`.",
    limit: int | None = None,
) -> tuple[Split, Split]:
    """Deal rows into a part to train on and a part of `fraction`, or so many rows, to validate on.

    Classes keep their shares in both parts. The order of the rows is kept. An error calls the
    fraction `name` and ends with the advice. `limit` is as for `Split.take`.

    Raises:
        InputError: a part would be empty, or a class has fewer than two rows.
    """
    from sklearn.model_selection import train_test_split

    stratify = split.y if kind == "classes" else None
    rows = np.arange(split.rows)
    try:
        train, held = train_test_split(
            rows,
            test_size=fraction,
            stratify=stratify,
            random_state=derive(seed, Stream.SPLIT),
        )
    except ValueError as error:
        raise InputError(
            f"{split.rows} rows cannot be split with {name}={fraction}: {error} {advice}"
        ) from error
    return split.take(np.sort(train), limit), split.take(np.sort(held), limit)
