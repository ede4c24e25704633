"""What turns new data into the inputs of a finished run's network."""

from __future__ import annotations

from pathlib import Path

import keras

from layerwise.checkpoint import PREPARATION, load, read_finished
from layerwise.datasets import ImagePreparation, is_of_images
from layerwise.errors import DamagedError, InputError
from layerwise.tables import Preparation

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
