"""A log: a file that grows by whole lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from layerwise.files import _system
from layerwise.files._read import open_plain
from layerwise.files._write import telling_of_a_full_disk

_LONGEST = 1 << 20
"""Bytes of a line; one that is longer is none of ours, and is not read."""


def append_line(path: Path, line: str) -> None:
    """Add a line in UTF-8 to a file, which is made where it is missing.

    The line is the system's when this returns, so that a killed process loses none; it is not
    synced, so that a power cut may take the newest.

    Raises:
        DiskFullError: there is no room; a part of the line may stand there until `mend_lines`.
    """
    with telling_of_a_full_disk(path.parent, 0):
        _system.append(path, f"{line}\n".encode())


def mend_lines(folder: Path, name: str) -> Iterator[str]:
    """The lines of a log, if there is one; at the end what follows the last whole one is cut off.

    Raises:
        DamagedError: it is no plain file.
    """
    try:
        stream = open_plain(folder, name)
    except FileNotFoundError:
        return
    position = whole = 0
    with stream:
        while piece := stream.readline(_LONGEST):
            begins, position = position == whole, position + len(piece)
            if piece.endswith(b"\n"):
                whole = position
                if begins:
                    yield piece.decode(errors="replace")
    if whole < position:
        _system.truncate(folder / name, whole)
