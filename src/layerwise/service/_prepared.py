"""What turns new data into the inputs of a finished run's network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise.checkpoint import PREPARATION, load, read_finished
from layerwise.datasets import ImagePreparation, image_files, is_of_images
from layerwise.errors import DamagedError, InputError
from layerwise.tables import Preparation, open_table

_LIMIT = 256 << 20
"""Bytes of a preparation: one with a million rare categories has some tens of millions."""


def preparation_text(folder: Path) -> bytes | None:
    """The preparation of a finished run as it was kept, or None of one on plain arrays.

    Raises:
        InputError, DamagedError: as `read_finished`.
    """
    try:
        return read_finished(folder, PREPARATION, _LIMIT)
    except FileNotFoundError:
        return None


def preparation_of(folder: Path) -> Preparation | ImagePreparation:
    """The preparation of a finished run.

    Raises:
        InputError: there is no finished run, or it was on plain arrays.
        DamagedError: it is not what was written.
    """
    text = preparation_text(folder)
    if text is None:
        raise InputError(
            f"The run in {folder} was not trained on a table or on images, so nothing says what a "
            "row's columns mean. `layerwise.load` gives its network."
        )
    if is_of_images(text):
        return ImagePreparation.from_json(text)
    return Preparation.from_json(text)


def network_of(folder: Path, shape: tuple[int, ...]) -> keras.Model:
    """The network of a finished run, which must take rows of this shape.

    Raises:
        DamagedError: it does not.
    """
    network = load(folder)
    expected = (None, *shape)
    if tuple(network.input_shape) != expected:
        raise DamagedError(
            f"The network in {folder} takes {network.input_shape}, and {PREPARATION} makes "
            f"{expected}. They are not of one run."
        )
    return network


def first_inputs(folder: Path, source: Any, most: int) -> tuple[NDArray[np.float32], list[str]]:
    """The first rows of a table, or images, as inputs of a finished run's network.

    Args:
        folder: of the run.
        source: as what it was trained on: a table, as a path or a frame, or an image or a folder.
        most: rows that are wanted.

    Returns:
        `(n, *shape)`, and what these rows have that the training rows had not, in sentences.

    Raises:
        InputError: the run was on plain arrays, or the source is not like its table or images.
        DamagedError: the preparation is not what was written.
    """
    preparation = preparation_of(folder)
    if isinstance(preparation, ImagePreparation):
        return preparation.transform(image_files([source])[:most])[0], []
    table = open_table(source, preparation.as_text)
    (x,), report = preparation.write(table, [np.arange(min(table.rows, most))])
    return x, report.sentences(said_name(source))


def said_name(source: Any) -> str:
    """A table in messages: its path, or what a frame is called."""
    return str(source) if isinstance(source, str | os.PathLike) else "The table"
