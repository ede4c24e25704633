"""From folders of images to the parts of a data set."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._image_preparation import ImagePreparation
from layerwise.datasets._images import Color, Damaged, Images, read_images, said_of
from layerwise.datasets._mapped import numbers
from layerwise.tables import Findings

_LISTED = 100
"""Damaged files that are named where they are left out, so that they can be mended."""
_CLASSES = 10


@dataclass(frozen=True)
class ImageParts:
    """What a data set is made of; `test` is images and labels, or None.

    All images are bytes, or all are numbers from 0 to 1.
    """

    x: NDArray[Any]
    labels: NDArray[np.str_]
    test: tuple[NDArray[Any], NDArray[np.str_]] | None
    name: str
    preparation: ImagePreparation
    findings: Findings


def image_parts(
    folder: Path,
    size: int | tuple[int, int] | None,
    color: Color,
    damaged: Damaged,
    test_folder: Path | None,
) -> ImageParts:
    """Read the folders; what is damaged and may be left out is warned of."""
    how: dict[str, Any] = {"size": size, "color": color, "damaged": damaged}
    whole = read_images(folder, **how)
    height, width, channels = whole.x.shape[1:]
    notes = _left_out(whole.broken, len(whole.x))
    test = None
    if test_folder is not None:
        how |= {"size": (height, width), "color": "gray" if channels == 1 else "rgb"}
        more = read_images(test_folder, **how)
        if more.x.dtype != whole.x.dtype:
            whole, more = _as_numbers(whole), _as_numbers(more)
        test = (more.x, more.labels)
        notes += _left_out(more.broken, len(more.x))
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    counts = Counter(whole.labels.tolist())
    shown = [f"{label} ({count})" for label, count in sorted(counts.items())[:_CLASSES]]
    shown += [f"{len(counts) - _CLASSES} more"] if len(counts) > _CLASSES else []
    said = f"{len(counts)} classes by sub-folder: {', '.join(shown)}; {height} x {width} pixels"
    return ImageParts(
        whole.x,
        whole.labels,
        test,
        folder.resolve().name,
        ImagePreparation(height, width, channels, tuple(sorted(counts))),
        Findings(f"{said}, {'gray' if channels == 1 else 'in color'}", (), tuple(notes)),
    )


def _as_numbers(images: Images) -> Images:
    return images if images.x.dtype != np.uint8 else replace(images, x=numbers(images.x))


def _left_out(broken: Any, whole: int) -> list[str]:
    if not broken:
        return []
    return [f"{said_of(broken, whole + len(broken), _LISTED)} They are left out."]
