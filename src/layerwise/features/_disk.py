"""Features on disk, for data that do not fit in RAM and for a run that goes on after a stop."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import files
from layerwise.errors import DamagedError, InputError, complaint
from layerwise.features._entry import (
    MANIFEST,
    ROWS,
    Entry,
    entry_bytes,
    read_entry,
    write_entry,
)

_KEY = re.compile("[0-9a-f]{64}")
_AN_HOUR = 3600.0


class Disk:
    """A folder of arrays, each under the SHA-256 of all that it depends on.

    Arrays are mapped and read only. An entry appears whole, is never changed, and goes at once;
    what was mapped before stays valid until it is let go. Every byte is verified when an entry is
    found, so nothing is synced: after a power cut a bad entry is rebuilt. Several processes may
    use one folder.

    Args:
        folder: made where it is missing. What dead processes left half written an hour ago or
            more is removed.
        limit: the most bytes of all entries together; None for no limit. Entries that were used
            longest ago, and not by this object, make way. Processes that write at the same
            moment may pass the limit together.

    Raises:
        InputError: the folder cannot be written, or the limit is no positive number.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        if limit is not None and limit <= 0:
            raise InputError(complaint("cache_limit", "be a number of bytes above 0", limit))
        self._folder = Path(folder)
        self._limit = limit
        self._used: dict[str, Entry] = {}
        try:
            files.make_folders(self._folder)
            files.remove_leftovers(self._folder, older_than=_AN_HOUR)
        except OSError as error:
            raise InputError(
                f"The folder {folder} cannot be written ({error.strerror}). Choose another one."
            ) from error

    def get(self, key: str) -> NDArray[Any] | None:
        """The verified array of this key, read only; None where it is not there or is damaged.

        A damaged entry is removed. What this object has put or got is not verified again.
        """
        entry = self._used.get(key) or self._verified(key)
        if entry is None:
            return None
        self._used[key] = entry
        # The mark only orders what makes way for new entries; another may have removed this one.
        with suppress(OSError):
            files.touch(self._path(key))
        return entry.array

    def put(
        self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: Iterable[NDArray[Any]]
    ) -> NDArray[Any]:
        """Write an array as it comes and hand it back, read only.

        Where another process has finished the same entry meanwhile, that one is used.

        Raises:
            DiskFullError: there is no room on the disk; nothing of the entry is left.
            InputError: the limit does not allow it.
            InputTypeError: arrays of this type cannot be kept on disk.
        """
        path, size = self._path(key), entry_bytes(shape, dtype)
        self._make_room(size)
        with files.scratch_folder(path, size) as temporary:
            entry = write_entry(temporary, key, shape, dtype, chunks)
            first = files.publish(temporary, path)
        if not first:
            # Ours has no name any more, but its map is valid, should theirs be damaged or gone.
            entry = self._verified(key) or entry
        self._used[key] = entry
        return entry.array

    def finite(self, key: str) -> bool:
        """Whether every number is finite in an array that was put or got, and not dropped."""
        return self._used[key].finite

    def drop(self, key: str) -> None:
        """Remove an entry. Who has mapped it, here or in another process, keeps what is mapped."""
        self._used.pop(key, None)
        files.discard(self._path(key))

    def close(self) -> None:
        """Remove every entry that was put or got here: the run is finished.

        Without this call they stay, for a resume to find.
        """
        for key in list(self._used):
            self.drop(key)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise InputError(complaint("key", "be a SHA-256 in hex", key))
        return self._folder / key

    def _verified(self, key: str) -> Entry | None:
        path = self._path(key)
        if not os.path.lexists(path):
            return None
        try:
            return read_entry(self._folder, key)
        except (DamagedError, OSError):
            files.discard(path)
            return None

    def _make_room(self, size: int) -> None:
        """Remove what was used longest ago, until `size` bytes more are within the limit."""
        if self._limit is None:
            return
        entries = self._entries()
        kept = sum(n for _, key, n in entries if key in self._used)
        if kept + size > self._limit:
            raise InputError(
                f"`cache_limit` allows {self._limit:,} bytes, and {kept + size:,} are needed: "
                f"{size:,} for the next features and {kept:,} for those in use. Allow more, or "
                "keep the features in memory."
            )
        left = sum(n for _, _, n in entries)
        for _, key, n in sorted(entries):
            if left + size <= self._limit:
                break
            if key not in self._used:
                files.discard(self._path(key))
                left -= n

    def _entries(self) -> list[tuple[int, str, int]]:
        """When each entry was used last, its key, and its bytes. What is not ours is left alone."""
        found = []
        for item in list(os.scandir(self._folder)):
            if not _KEY.fullmatch(item.name) or not item.is_dir(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):  # Another process may have removed it meanwhile.
                parts = {part.name: part.stat(follow_symlinks=False) for part in os.scandir(item)}
                if parts.keys() <= {ROWS, MANIFEST}:
                    used = item.stat(follow_symlinks=False).st_mtime_ns
                    found.append((used, item.name, sum(part.st_size for part in parts.values())))
        return found
