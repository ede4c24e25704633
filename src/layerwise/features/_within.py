"""Features in RAM as far as a memory limit allows, the others on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import files
from layerwise.features._disk import Disk
from layerwise.features._memory import Memory
from layerwise.features._store import is_finite

_SHARE = 4
"""Features take one part of so many of the memory limit."""


class Within:
    """RAM for what fits, and a folder, or files without a name, for what does not.

    Args:
        limit: of the memory of a whole run, in bytes; a quarter of it is for features.
        folder: for what does not fit, to be found by a later session; made when it is needed.
            None for files that go with this process.
        folder_limit: the most bytes that the folder may hold; None for no limit.
        own: whether nobody else uses the folder, so that it goes at the end.
    """

    def __init__(
        self,
        limit: int,
        folder: Path | None = None,
        folder_limit: int | None = None,
        *,
        own: bool = False,
    ) -> None:
        self._room = limit // _SHARE
        self._folder, self._folder_limit, self._own = folder, folder_limit, own
        self._memory = Memory()
        self._sizes: dict[str, int] = {}
        """Of what lies in RAM."""
        self._finite: dict[str, bool] = {}
        """Of what lies in files without a name."""
        self._disk: Disk | None = None

    def get(self, key: str) -> NDArray[Any] | None:
        """What the folder has; what was in RAM is never found again."""
        if self._folder is None or not (self._disk or self._folder.exists()):
            return None
        return self._on_disk(self._folder).get(key)

    def put(
        self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Iterable[NDArray[Any]]
    ) -> NDArray[Any]:
        """Keep an array where there is room for it."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if sum(self._sizes.values()) + size <= self._room:
            array = self._memory.put(key, shape, dtype, chunks)
            self._sizes[key] = size
            return array
        if self._folder is not None:
            return self._on_disk(self._folder).put(key, shape, dtype, chunks)
        array, filled, finite = files.scratch_array(shape, dtype), 0, True
        for chunk in chunks:
            array[filled : filled + len(chunk)] = chunk
            finite = finite and is_finite(array[filled : filled + len(chunk)])
            filled += len(chunk)
            del chunk
        array.flags.writeable = False
        self._finite[key] = finite
        return array

    def finite(self, key: str) -> bool:
        """Whether every number is finite in an array that was put or got, and not dropped."""
        if key in self._sizes:
            return self._memory.finite(key)
        if self._disk is not None:
            return self._disk.finite(key)
        return self._finite[key]

    def drop(self, key: str) -> None:
        """This array is no longer needed."""
        self._memory.drop(key)
        self._sizes.pop(key, None)
        self._finite.pop(key, None)
        if self._folder is not None and (self._disk or self._folder.exists()):
            self._on_disk(self._folder).drop(key)

    def close(self) -> None:
        """Remove what was put or got here: the run is finished."""
        if self._disk is not None:
            self._disk.close()
            if self._own and self._folder is not None:
                files.remove(self._folder)

    def _on_disk(self, folder: Path) -> Disk:
        if self._disk is None:
            self._disk = Disk(folder, self._folder_limit)
        return self._disk
