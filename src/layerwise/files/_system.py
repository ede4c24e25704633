"""Every call that changes the disk, so that a test can count, record or fail each of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make one folder, which must not exist."""
    path.mkdir()


def make_folders(path: Path) -> None:
    """Make a folder and those above it, where they are missing."""
    path.mkdir(parents=True, exist_ok=True)


def write_new(path: Path, parts: Iterable[bytes | memoryview], size: int = 0) -> None:
    """Write a file that does not exist yet, its whole room reserved first.

    Reserving tells of a full disk before a byte is written, and keeps the room.

    Args:
        path: of the file.
        parts: its content.
        size: how many bytes to reserve; 0 for none.
    """
    with path.open("xb") as stream:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        for part in parts:
            stream.write(part)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, which is made where it is missing; a link is not followed."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
    finally:
        os.close(descriptor)


def truncate(path: Path, size: int) -> None:
    """Cut a file off after so many bytes."""
    os.truncate(path, size)


def sync(path: Path) -> None:
    """Ask the system to put a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Give a file or folder another name; a file or an empty folder that stood there is gone."""
    os.replace(source, target)


def link_new(source: Path, target: Path) -> None:
    """Give a file a second name, which must not exist: one of several who try succeeds."""
    os.link(source, target)


def touch(path: Path) -> None:
    """Set a file's time of change to now, by the clock of its file system."""
    os.utime(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
