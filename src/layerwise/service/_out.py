"""Where results may go."""

from __future__ import annotations

import os
from pathlib import Path

from layerwise.checkpoint import read_sums
from layerwise.errors import InputError


def check_out(file: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        InputError: it has another ending, is a folder or a finished run's own, or its folder is
            missing or closed.
    """
    if file.suffix.lower() not in endings:
        raise InputError(f"`--out` must end in {' or '.join(endings)}. Received: {str(file)!r}.")
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise InputError(f"{file} cannot be written: name a file in a folder that is there.")
    if file.name in read_sums(file.parent):
        raise InputError(
            f"{file} is a file of the run in {file.parent}, which stays as it is. Choose another."
        )
