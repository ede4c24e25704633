"""Whole files and folders, or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerwise._typing import Json
from layerwise.errors import DiskFullError
from layerwise.files import _system

TEMPORARY_PREFIX = ".layerwise-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free_bytes(folder: Path) -> int:
    """How much may still be written on the disk of a folder that exists, or will."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextmanager
def _telling_of_a_full_disk(folder: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        needed = f"{size:,} bytes are needed" if size else "more room is needed"
        raise DiskFullError(
            f"The disk of {folder} is full ({error.strerror}): {needed}, "
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
        with _telling_of_a_full_disk(path.parent, size):
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
        with _telling_of_a_full_disk(path.parent, size):
            _system.make_folder(temporary)
            yield temporary
            for file in sorted(temporary.iterdir()):
                _system.sync(file)
            _system.sync(temporary)
            if path.exists():
                _system.replace(path, old)
            _system.replace(temporary, path)
            _system.sync(path.parent)
    finally:
        _system.remove(temporary)
        _system.remove(old)


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
    return write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    _system.remove(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written in a folder that is ours alone."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        _system.remove(path)
