"""Opening files that a stranger may have touched."""

from __future__ import annotations

import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path

from layerwise.errors import DamagedError

_NO_TRICKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""A link could lead anywhere; a pipe would wait for its writer for ever."""


def open_plain(folder: Path, name: str) -> BufferedReader:
    """Open a plain file that must lie below a folder.

    Args:
        folder: what the name may not lead out of.
        name: relative, such as `"stage-0001-0/manifest.json"`.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is a link, a pipe or a folder, or lies outside.
    """
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DamagedError(f"{path} leads out of {folder}. It is not read.")
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_TRICKS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"There is no {path}.") from error
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedError(f"{path} is no plain file. It is not read.")
    return BufferedReader(FileIO(descriptor))


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """The content of a plain file below a folder.

    Args:
        folder, name: as for `open_plain`.
        limit: the most bytes that such a file may have; a larger one is not read.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: as for `open_plain`, or it is larger than `limit`.
    """
    with open_plain(folder, name) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise DamagedError(
                f"{folder / name} has {size:,} bytes, and at most {limit:,} are expected."
            )
        return stream.read(size)
