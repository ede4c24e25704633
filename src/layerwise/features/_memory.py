"""Features in RAM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.features._store import is_finite
from layerwise.memory import aligned


class Memory:
    """Features in RAM, aligned so that the CPU backend of JAX reads them where they are.

    It keeps no array itself: one lives as long as somebody holds it.
    """

    def __init__(self) -> None:
        self._finite: dict[str, bool] = {}

    def get(self, key: str) -> None:
        """Nothing is ever found again."""

    def put(
        self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Iterable[NDArray[Any]]
    ) -> NDArray[Any]:
        """Put the chunks into one array."""
        array, filled, finite = aligned(shape, dtype), 0, True
        for chunk in chunks:
            rows = array[filled : filled + len(chunk)]
            rows[...] = chunk
            finite = finite and is_finite(rows)
            filled += len(chunk)
            del chunk
        self._finite[key] = finite
        return array

    def finite(self, key: str) -> bool:
        """Whether every number in the array is finite."""
        return self._finite[key]

    def drop(self, key: str) -> None:
        """The array goes with its last user."""
        self._finite.pop(key, None)
