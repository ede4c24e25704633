"""What every place for features can do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Store(Protocol):
    """Where features live, by a key that says all that they depend on."""

    def get(self, key: str) -> NDArray[Any] | None:
        """The array of this key; None where it is not there or is damaged."""
        ...

    def put(
        self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Iterable[NDArray[Any]]
    ) -> NDArray[Any]:
        """Keep an array that comes in consecutive blocks of rows, and hand it back whole.

        Args:
            key: SHA-256 in hex.
            shape: of the whole array.
            dtype: of the whole array; chunks of another are cast.
            chunks: asked for one by one, and not kept.
        """
        ...

    def finite(self, key: str) -> bool:
        """Whether every number is finite in an array that was put or got, and not dropped."""
        ...

    def drop(self, key: str) -> None:
        """This array is no longer needed. Nothing happens where there is none."""
        ...


def is_finite(chunk: NDArray[Any]) -> bool:
    """Whether there is no NaN and no infinity."""
    return bool(np.isfinite(chunk).all())
