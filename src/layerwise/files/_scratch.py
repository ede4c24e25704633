"""Arrays on disk without a name: they go with whoever holds them, however the process ends."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerwise.errors import InputError
from layerwise.files._write import telling_of_a_full_disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def scratch_array(
    shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path | None = None
) -> NDArray[Any]:
    """An array of zeros in a file of its own, mapped to be read and written.

    The file has no name: its room is free again when the array is let go, or the process ends.

    Args:
        shape, dtype: of the array.
        folder: on whose disk it lies; by default the system's for temporary files, which the
            environment variable TMPDIR names.

    Raises:
        DiskFullError: there is no room.
        InputError: the folder cannot be written.
    """
    import numpy as np  # Not above: who is second in a run folder is told before slow imports.

    where = Path(tempfile.gettempdir()) if folder is None else folder
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    try:
        with telling_of_a_full_disk(where, size), tempfile.TemporaryFile(dir=where) as stream:
            if hasattr(os, "posix_fallocate"):
                # A map of a file without room would end the process when it is written.
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
            return np.memmap(stream, dtype, "r+", shape=shape)
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"The folder {where} cannot be written ({error.strerror}). Choose another one with "
            "the environment variable TMPDIR."
        ) from error
