"""Rows from wherever they lie, piece by piece, the next one read while the last one is in use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from layerwise._typing import Tree
from layerwise.memory import aligned


class Piece(NamedTuple):
    """Some rows on the device."""

    data: Tree
    order: Any
    """Where in the data each of the rows stands, `(piece_rows,)`."""
    rows: int
    """How many there are; what follows is left over."""


class Reader:
    """Pieces of some rows, asked for one after the other; at most two are held.

    Args:
        tree: the arrays, in memory or mapped.
        piece_rows: of each piece but the last one.
        numbers: from a piece's number to the rows that it has, in their order.
        count: of the pieces that there are.
    """

    def __init__(
        self,
        tree: Tree,
        piece_rows: int,
        numbers: Callable[[int], NDArray[np.integer]],
        count: int,
    ) -> None:
        self._tree, self._size, self._numbers, self._count = tree, piece_rows, numbers, count
        self._thread = ThreadPoolExecutor(1, "layerwise-reader")
        self._held: tuple[int, Piece] | None = None
        self._ahead: tuple[int, Future[Piece]] | None = None

    def piece(self, number: int) -> Piece:
        """A piece; whatever was computed on the one before must be done."""
        if self._held is None or self._held[0] != number:
            self.let_go()
            ahead, self._ahead = self._ahead, None
            if ahead is None or ahead[0] != number:
                ahead = number, self._thread.submit(self._read, number)
            self._held = number, ahead[1].result()
            if number + 1 < self._count:
                self._ahead = number + 1, self._thread.submit(self._read, number + 1)
        return self._held[1]

    def let_go(self) -> None:
        """Free the piece in use; the one that is read ahead stays."""
        self._held = None

    def close(self) -> None:
        """Free everything, once the thread is done with what it reads."""
        self._thread.shutdown(cancel_futures=True)
        self._held = self._ahead = None

    def _read(self, number: int) -> Piece:
        rows = self._numbers(number)
        # A file is read from its beginning to its end; the device puts the rows in order.
        places = np.argsort(rows)
        order = np.zeros(self._size, np.int32)
        order[places] = np.arange(len(rows), dtype=np.int32)
        rows = rows[places]

        def taken(array: NDArray[Any]) -> Any:
            part = aligned((self._size, *array.shape[1:]), array.dtype)
            # With a mode NumPy writes where it is told; without, it makes a copy first.
            np.take(array, rows, axis=0, out=part[: len(rows)], mode="clip")
            part[len(rows) :] = 0
            # `device_put` does not copy where the device is this machine's memory.
            return jax.device_put(part)

        return Piece(jax.tree.map(taken, self._tree), jax.device_put(order), len(rows))
