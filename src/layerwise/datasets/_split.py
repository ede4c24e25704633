"""One part of a data set, and how rows are dealt to the parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise._random import Stream, derive
from layerwise._typing import Tree
from layerwise.datasets._mapped import own, taken
from layerwise.errors import InputError


@dataclass(frozen=True)
class Split:
    """Rows that belong together: `x`, perhaps `y`, perhaps a weight for each row.

    Every array has the same number of rows on its first axis.
    """

    x: Tree
    y: Tree = None
    sample_weight: NDArray[np.floating] | None = None
    whole: int | None = None
    """How many rows all processes have together, where these are the share of one of them."""

    @property
    def rows(self) -> int:
        """How many samples, of all processes together."""
        return self.here if self.whole is None else self.whole

    @property
    def here(self) -> int:
        """How many samples this process has."""
        return int(keras.tree.flatten(self.x)[0].shape[0])

    def share(self, start: int, stop: int, limit: int | None = None) -> Split:
        """One process's share: a copy of the rows from `start` to before `stop`.

        It lies on disk as for `take`.
        """
        parts = keras.tree.map_structure(lambda array: own(array, start, stop, limit), self.tree())
        return Split(**parts, whole=self.rows)

    def tree(self) -> dict[str, Tree]:
        """The parts that are there, by name."""
        parts = {"x": self.x, "y": self.y, "sample_weight": self.sample_weight}
        return {name: part for name, part in parts.items() if part is not None}

    def take(self, rows: NDArray[np.integer], limit: int | None = None) -> Split:
        """The same parts, of these rows; on disk where they are mapped, or too large for `limit`.

        Args:
            rows: their numbers.
            limit: of the memory of a whole run, in bytes; None for none.
        """
        chosen = keras.tree.map_structure(lambda array: taken(array, rows, limit), self.tree())
        return Split(**chosen)


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
