"""The trunk's outputs for every split: what the next stage trains on, computed once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from layerwise._typing import Array, Shape
from layerwise.datasets import Split

_CHUNK_BYTES = 32 << 20
"""About how much of input and output together passes through a block at a time."""


class Store(Protocol):
    """Where features live. Memory here; a disk has the same face."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:  # type: ignore[type-arg]
        """An array to be filled, row by row, under a name such as `"train"`."""
        ...


class Memory:
    """Features in RAM, aligned so that the CPU backend of JAX reads them where they are."""

    _ALIGNMENT = 64

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:  # type: ignore[type-arg]
        size = int(np.prod(shape)) * dtype.itemsize
        raw = np.empty(size + self._ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % self._ALIGNMENT
        return raw[start : start + size].view(dtype).reshape(shape)


class Features:
    """The features of one growing network.

    Args:
        splits: the data that the first stage sees, by name; each becomes its own features.
        store: where later features go.
    """

    def __init__(self, splits: Mapping[str, Split], store: Store | None = None) -> None:
        self._splits = dict(splits)
        self._store = store or Memory()
        self.depth = 0
        """How many blocks these features have passed."""

    def __getitem__(self, name: str) -> Split:
        return self._splits[name]

    def get(self, name: str) -> Split | None:
        """The features of a split, or None where there is no such split."""
        return self._splits.get(name)

    def advance(self, forward: Callable[[Array], Array], output_shape: Shape) -> None:
        """Pass every split through the newest block, in inference mode, and forget what was.

        Args:
            forward: from `(n_rows, ...)` to `(n_rows, *output_shape)`, always called with the
                same number of rows.
            output_shape: the shape of one sample's features; None where it is not fixed.
        """
        longest = max(split.rows for split in self._splits.values())
        row = self._splits["train"].x[:1].nbytes + 4 * math.prod(n or 1 for n in output_shape)
        chunk = max(1, min(longest, _CHUNK_BYTES // row))
        for name, split in self._splits.items():
            self._splits[name] = replace(split, x=self._pass(name, split.x, forward, chunk))
        self.depth += 1

    def _pass(
        self, name: str, x: Array, forward: Callable[[Array], Array], chunk: int
    ) -> NDArray[Any]:
        """Equal chunks, the last one padded: in inference mode each row stands alone."""
        output: NDArray[Any] | None = None
        for start in range(0, len(x), chunk):
            rows = x[start : start + chunk]
            if len(rows) < chunk:
                rows = np.concatenate([rows, np.repeat(rows[:1], chunk - len(rows), axis=0)])
            done = np.asarray(forward(rows))
            if output is None:
                output = self._store.empty(name, (len(x), *done.shape[1:]), done.dtype)
            output[start : start + chunk] = done[: len(x) - start]
        assert output is not None
        return output
