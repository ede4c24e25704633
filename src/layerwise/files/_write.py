"""Whole files and folders, or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from layerwise._typing import Json
from layerwise.errors import DiskFullError, InputError
from layerwise.files import _system

TEMPORARY_PREFIX = ".layerwise-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


def free_bytes(folder: Path) -> int:
    """How much may still be written on the disk of a folder that exists, or will."""
    while not os.path.exists(folder):  # `Path.exists` raises for a name too long.
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_room(folder: Path, size: int) -> None:
    """Raise `DiskFullError` where `size` bytes do not fit on the disk of a folder."""
    free = free_bytes(folder)
    if free < size:
        raise DiskFullError(
            f"The disk of {folder} has no room: {size:,} bytes are needed, {free:,} are free. Make "
            "room, or choose a folder on another disk."
        )


@contextmanager
def telling_of_a_full_disk(folder: Path, size: int) -> Iterator[None]:
    """Turn what the system says of a full disk into `DiskFullError`.

    Args:
        folder: where is written.
        size: how many bytes are needed, or 0.
    """
    try:
        yield
    except OSError as error:
        # HDF5 puts the number into its text alone.
        told = re.search(r"errno = (\d+)", str(error))
        if (error.errno or (int(told[1]) if told else None)) not in _FULL:
            raise
        needed = f"{size:,} bytes are needed" if size else "more room is needed"
        raise DiskFullError(
            f"The disk of {folder} is full ({error.strerror or 'no space left'}): {needed}, "
            f"{free_bytes(folder):,} are free. Make room and go on; what was there is intact."
        ) from error


def _temporary(path: Path) -> Path:
    """A new name beside `path`. The suffix is kept, as Keras asks for `.keras`."""
    return path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}"


@contextmanager
def replacing(path: Path, size: int = 0) -> Iterator[Path]:
    """A temporary name beside `path`; what stands there at the end takes `path`'s place at once.

    A reader sees the old file or the new one, never a part. When the body raises, `path` keeps
    what it had and the temporary file is removed.

    Raises:
        DiskFullError: there is no room; `size`, where given, says how many bytes were needed.
    """
    temporary = _temporary(path)
    try:
        with telling_of_a_full_disk(path.parent, size):
            yield temporary
            _system.sync(temporary)
            _system.replace(temporary, path)
            _system.sync(path.parent)
    finally:
        _system.remove(temporary)


@contextmanager
def replacing_folder(path: Path, size: int = 0) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes `path`'s place at the end.

    Every file in it is synced first. Where `path` exists it is moved aside and removed
    afterwards, so for an instant there is no folder of that name: give generations names of
    their own where that matters.
    """
    temporary, old = _temporary(path), _temporary(path)
    try:
        with telling_of_a_full_disk(path.parent, size):
            _system.make_folder(temporary)
            yield temporary
            for file in sorted(temporary.iterdir()):
                _system.sync(file)
            _system.sync(temporary)
            if os.path.lexists(path):
                _system.replace(path, old)
            _system.replace(temporary, path)
            _system.sync(path.parent)
    finally:
        try:
            _system.remove(temporary)
        finally:
            _system.remove(old)


@contextmanager
def scratch_folder(path: Path, size: int = 0) -> Iterator[Path]:
    """A temporary folder beside `path`, gone at the end unless `publish` has given it a name.

    Raises:
        DiskFullError: there is no room; `size`, where given, says how many bytes were needed.
    """
    temporary = _temporary(path)
    try:
        with telling_of_a_full_disk(path.parent, size):
            _system.make_folder(temporary)
            yield temporary
    finally:
        _system.remove(temporary)


def publish(temporary: Path, path: Path) -> bool:
    """Give a temporary folder its name, unless somebody has it; whether it was free.

    Nothing is synced: this is for what is verified whenever it is read, and can be made again.
    """
    try:
        _system.replace(temporary, path)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        return False
    return True


def write_blocks(
    path: Path, parts: Iterable[bytes | memoryview], size: int, block: int
) -> list[str]:
    """Write a new file from parts as they come, its room reserved first, and hash its blocks.

    Args:
        path: of a file that does not exist yet.
        parts: its content, in order; views are of single bytes.
        size: how many bytes all parts have together.
        block: how many bytes share a hash; the last block may have fewer.

    Returns:
        The SHA-256 of each block.

    Raises:
        InputError: the parts do not have `size` bytes.
    """
    hashes: list[Any] = []
    written = 0

    def hashed() -> Iterator[bytes | memoryview]:
        nonlocal written
        for part in parts:
            whole, start = memoryview(part), 0
            while start < len(whole):
                if written % block == 0:
                    hashes.append(hashlib.sha256())
                piece = whole[start : start + block - written % block]
                hashes[-1].update(piece)
                start, written = start + len(piece), written + len(piece)
            yield part

    _system.write_new(path, hashed(), size)
    if written != size:
        raise InputError(f"{path.name} was to have {size:,} bytes, and {written:,} came.")
    return [part.hexdigest() for part in hashes]


def write_bytes(path: Path, data: bytes) -> str:
    """Write a whole file and return its SHA-256."""
    with replacing(path, len(data)) as temporary:
        _system.write_new(temporary, [data], len(data))
    return hashlib.sha256(data).hexdigest()


def write_text(path: Path, text: str) -> str:
    """Write a whole text file in UTF-8 and return its SHA-256."""
    return write_bytes(path, text.encode())


def write_json(path: Path, value: Json) -> str:
    """Write one JSON document and return its SHA-256. Infinity and NaN are refused."""
    return write_bytes(path, _json(value))


def digest_json(value: Json) -> str:
    """The SHA-256 of what `write_json` writes."""
    return hashlib.sha256(_json(value)).hexdigest()


def _json(value: Json) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    _system.remove(path)


def discard(path: Path) -> None:
    """Take a file or folder away at once, then remove it; who has it open may read on.

    What the system does not remove now, such as a file on NFS that is open still, is a leftover.
    Nothing happens where another process was faster.
    """
    aside = _temporary(path)
    with suppress(OSError):
        _system.replace(path, aside)
        _system.remove(aside)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, where they are missing, for good.

    Raises:
        DiskFullError: there is no room.
        InputError: a file stands in the way.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with telling_of_a_full_disk(folder, 0):
        try:
            _system.make_folders(folder)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                f"The folder {folder} cannot be written ({error.strerror}). Choose another one."
            ) from error
        for path in new:
            # Who may write into a folder may not always list, and so open, the one above it.
            with suppress(PermissionError):
                _system.sync(path.parent)


def touch(path: Path) -> None:
    """Mark a file or folder, which must exist, as used now."""
    _system.touch(path)


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Remove what a killed process left half written in a folder that is ours alone.

    Args:
        folder: where to look.
        older_than: seconds without a write, below which another process may still be at work.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):  # Another process may be removing it as well.
            if not older_than or time.time() - _last_write(path) > older_than:
                _system.remove(path)


def _last_write(path: Path) -> float:
    inside = list(path.iterdir()) if path.is_dir() and not path.is_symlink() else []
    return max(os.lstat(part).st_mtime for part in (path, *inside))
