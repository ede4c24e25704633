"""A folder of images, a sub-folder for each class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError, complaint

Color: TypeAlias = Literal["auto", "rgb", "gray"]
Damaged: TypeAlias = Literal["refuse", "skip"]

_ENDINGS = (".png", ".jpg", ".jpeg")
_SHOWN = 5
"""How many files a message names."""


@dataclass(frozen=True)
class Images:
    """Decoded images: `x` is `(n, height, width, channels)` from 0 to 1, `labels` `(n,)` text."""

    x: NDArray[np.float32]
    labels: NDArray[np.str_]


def read_images(
    folder: Path,
    *,
    size: int | tuple[int, int] | None = None,
    color: Color = "auto",
    damaged: Damaged = "refuse",
) -> Images:
    """Decode every image below a folder, in the order of the names.

    Args:
        folder: with a sub-folder for each class.
        size: height and width, or one number for both.
        color: see `Dataset.from_images`.
        damaged: see there.

    Raises:
        InputError: see there.
    """
    if color not in ("auto", "rgb", "gray"):
        raise InputError(complaint("color", 'be "auto", "rgb" or "gray"', color))
    if damaged not in ("refuse", "skip"):
        raise InputError(complaint("damaged", 'be "refuse" or "skip"', damaged))
    shape = _shape(size)
    files = _files(folder)
    # Pillow decodes without holding Python's lock.
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: _decode(file, shape), files))
    broken = [file for file, image in zip(files, decoded, strict=True) if image is None]
    if broken:
        _tell(broken, len(files), damaged)
    whole = [(f, image) for f, image in zip(files, decoded, strict=True) if image is not None]
    if not whole:
        raise InputError(f"None of the {len(files)} images in {folder} can be decoded.")
    if color == "auto":
        color = "gray" if all(image.shape[-1] == 1 for _, image in whole) else "rgb"
    x = np.empty((len(whole), *_one_size(whole), 1 if color == "gray" else 3), np.float32)
    for row, (_, image) in zip(x, whole, strict=True):
        row[...] = _in_color(image, color)
    return Images(x, np.array([file.parent.name for file, _ in whole]))


def _shape(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    given = (size, size) if isinstance(size, int) else tuple(size)
    if len(given) != 2 or not all(isinstance(n, int) and n > 0 for n in given):
        raise InputError(complaint("size", "be height and width, both above 0", size))
    return given


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    files = []
    for part in sorted(folder.iterdir()):
        if not part.is_dir() or part.name.startswith("."):
            continue
        found = sorted(
            file
            for file in part.iterdir()
            if file.suffix.lower() in _ENDINGS and not file.name.startswith(".")
        )
        if not found:
            raise InputError(f"The class folder {part} holds no PNG or JPEG file.")
        files += found
    if len({file.parent for file in files}) < 2:
        raise InputError(
            f"{folder} must have a sub-folder of PNG or JPEG files for each of two classes or more."
        )
    return files


def _decode(file: Path, shape: tuple[int, int] | None) -> NDArray[Any] | None:
    """Bytes `(height, width, 1 or 3)`, the way up that the camera was held; None for damage."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):
                # 16 bits a pixel, which Pillow would cut off at 255.
                image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
            gray = image.mode in ("1", "L", "LA")
            image = image.convert("L" if gray else "RGB")
            if shape is not None and image.size != (shape[1], shape[0]):
                image = image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(image.height, image.width, -1)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return None


def _tell(broken: Sequence[Path], files: int, damaged: Damaged) -> None:
    names = ", ".join(str(file) for file in broken[:_SHOWN])
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    said = f"{len(broken)} of {files} images cannot be decoded: {names}{more}."
    if damaged == "refuse":
        raise InputError(f'{said} Mend or remove them, or pass `damaged="skip"`.')
    warnings.warn(f"{said} They are left out.", UserWarning, stacklevel=4)


def _one_size(whole: Sequence[tuple[Path, NDArray[Any]]]) -> tuple[int, int]:
    first, image = whole[0]
    expected = image.shape[:2]
    for file, other in whole:
        if other.shape[:2] != expected:
            raise InputError(
                f"Images must have one size, or be scaled to one by `size=`. {first} has {expected}"
                f" (height, width), {file} has {other.shape[:2]}."
            )
    return expected[0], expected[1]


def _in_color(image: NDArray[Any], color: Color) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = np.divide(image, 255, dtype=np.float32)
    if color == "gray" and image.shape[-1] == 3:
        # ITU-R 601, as Pillow weighs them.
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.asarray((pixels @ weights)[..., None], np.float32)
    return pixels
