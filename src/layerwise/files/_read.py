"""Opening files that a stranger may have touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from layerwise.errors import DamagedError


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """The content of a file that must lie in `folder` itself.

    Args:
        folder: what the name may not lead out of.
        name: relative, such as `"stage-0001-0/manifest.json"`.
        limit: the most bytes that such a file may have; a larger one is not read.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is a link, a pipe or a folder, lies outside, or is larger than `limit`.
    """
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DamagedError(f"{path} leads out of {folder}. It is not read.")
    try:
        # A pipe would wait for its writer for ever; a link could lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{path} is no plain file. It is not read.")
        if status.st_size > limit:
            raise DamagedError(
                f"{path} has {status.st_size:,} bytes, and at most {limit:,} are expected."
            )
        return stream.read(limit + 1)
