"""From a run folder and image files to columns of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets import ImagePreparation, image_files, refusal, said_of
from layerwise.errors import InputError
from layerwise.service._prepared import network_of
from layerwise.tables import Target

_AT_ONCE = 256
"""Images in memory at one time."""
_LISTED = 100


def predict_images(
    folder: Path,
    preparation: ImagePreparation,
    source: Any,
    damaged: Literal["refuse", "skip"],
) -> tuple[Target, dict[str, NDArray[Any]], NDArray[Any], list[str]]:
    """Predict image files, a few hundred at a time.

    Returns:
        The classes, the column `file`, the network's outputs, and what is left out in sentences.

    Raises:
        InputError: there is no such file, or one is damaged and `damaged` is `"refuse"`.
    """
    files = image_files(source if isinstance(source, list | tuple) else [source])
    shape = (preparation.height, preparation.width, preparation.channels)
    network = network_of(folder, shape)
    width = network.output_shape[-1]
    if width != len(preparation.classes):
        raise InputError(
            f"The network in {folder} gives {width} numbers for {len(preparation.classes)} "
            "classes, so they cannot be told apart. `layerwise.load` gives the network."
        )
    broken: list[Path] = []
    seen: list[Path] = []
    outputs: list[NDArray[Any]] = []
    for start in range(0, len(files), _AT_ONCE):
        # Skipped for now, so that a refusal names all of them.
        x, whole, bad = preparation.transform(files[start : start + _AT_ONCE], "skip")
        seen, broken = seen + whole, broken + bad
        if whole and (not broken or damaged == "skip"):
            outputs.append(np.asarray(network.predict(x, batch_size=_AT_ONCE, verbose=0)))
    if broken and damaged == "refuse":
        raise refusal(broken, len(files))
    if not seen:
        raise InputError(f"{_said(broken, len(files))} There is nothing to predict.")
    names = {"file": np.array([str(file) for file in seen])}
    notes = [f"{_said(broken, len(files))} They are left out."] if broken else []
    return Target("class", preparation.classes), names, np.concatenate(outputs), notes


def _said(broken: Sequence[Path], files: int) -> str:
    return said_of(broken, files, _LISTED)
