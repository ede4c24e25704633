"""A folder of images, a sub-folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._mapped import empty, slices
from layerwise.errors import InputError, complaint

Color: TypeAlias = Literal["auto", "rgb", "gray"]
Damaged: TypeAlias = Literal["refuse", "skip"]

_ENDINGS = (".png", ".jpg", ".jpeg")
_SHOWN = 5
"""How many files a message names."""
_TOGETHER = 256
"""So many are decoded, and held as bytes, at a time."""


@dataclass(frozen=True)
class Images:
    """Decoded images: `x` is `(n, height, width, channels)`, bytes, or numbers from 0 to 1 where
    images in color became gray; `labels` `(n,)` text, `broken` the files that were left out."""

    x: NDArray[Any]
    labels: NDArray[np.str_]
    broken: Sequence[Path] = ()


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
    files, shape, broken = _files(folder), _shape(size), []
    _check_damaged(damaged)
    stack = _Stack(color, len(files))
    for start in range(0, len(files), _TOGETHER):
        whole, damage = decode(files[start : start + _TOGETHER], shape, "skip")
        broken += damage
        for file, image in whole.items():
            stack.add(file, image)
    if broken and damaged == "refuse":
        raise refusal(broken, len(files))
    if not stack.files:
        raise InputError(f"None of the {len(broken)} images in {folder} can be decoded.")
    return Images(stack.whole(), np.array([file.parent.name for file in stack.files]), broken)


class _Stack:
    """Decoded images of one size in one array.

    Bytes, in color from the first one in color on; where all are to be gray, numbers from there on.

    Args:
        color: see `Dataset.from_images`.
        most: how many there may be.
    """

    def __init__(self, color: Color, most: int) -> None:
        self._auto, self._most = color == "auto", most
        self._channels = 3 if color == "rgb" else 1
        self._x: NDArray[Any] = np.empty((0, 0, 0, 0), np.uint8)
        self._other = ""
        self.files: list[Path] = []

    def add(self, file: Path, image: NDArray[Any]) -> None:
        """Put an image `(height, width, 1 or 3)` behind the others."""
        size = image.shape[:2]
        if not self.files:
            self._size = size
            self._new(np.uint8)
        self.files.append(file)
        if size != self._size:
            # It is told when all files have been looked at: damaged ones are told first.
            self._other = self._other or f"{file} has {size}"
            return
        if image.shape[-1] > self._channels:
            if self._auto:
                self._channels = 3
            # A weighted sum of three bytes is no byte.
            self._new(np.uint8 if self._auto else np.float32)
        bytes_fit = self._x.dtype == np.uint8
        self._x[len(self.files) - 1] = image if bytes_fit else in_color(image, "gray")

    def whole(self) -> NDArray[Any]:
        """All of them.

        Raises:
            InputError: one had another size.
        """
        if self._other:
            raise InputError(
                f"Images must have one size, or be scaled to one by `--size` (in Python "
                f"`size=`). {self.files[0]} has {self._size} (height, width), {self._other}."
            )
        return self._x[: len(self.files)]

    def _new(self, dtype: Any) -> None:
        before = self._x
        if before.dtype == dtype and before.shape[-1] == self._channels:
            return
        self._x = empty((self._most, *self._size, self._channels), dtype)
        for part in slices(before):
            self._x[part] = before[part] if dtype == np.uint8 else in_color(before[part], "gray")


def decode(
    files: Sequence[Path], shape: tuple[int, int] | None, damaged: Damaged
) -> tuple[dict[Path, NDArray[Any]], list[Path]]:
    """Files to bytes `(height, width, 1 or 3)`, and those that cannot be decoded.

    Raises:
        InputError: a file is damaged, and `damaged` is `"refuse"`.
    """
    _check_damaged(damaged)
    # Pillow decodes without holding Python's lock.
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: _decode(file, shape), files))
    broken = [file for file, image in zip(files, decoded, strict=True) if image is None]
    if broken and damaged == "refuse":
        raise refusal(broken, len(files))
    pairs = zip(files, decoded, strict=True)
    return {file: image for file, image in pairs if image is not None}, broken


def _check_damaged(damaged: str) -> None:
    if damaged not in ("refuse", "skip"):
        raise InputError(complaint("damaged", 'be "refuse" or "skip"', damaged))


def _shape(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    given = (size, size) if isinstance(size, int) else tuple(size)
    if len(given) != 2 or not all(isinstance(n, int) and n > 0 for n in given):
        raise InputError(complaint("size", "be height and width, both above 0", size))
    return given


def is_image(file: Path) -> bool:
    """Whether a name is one of an image that is not hidden."""
    return file.suffix.lower() in _ENDINGS and not file.name.startswith(".")


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    files = []
    for part in sorted(folder.iterdir()):
        if not part.is_dir() or part.name.startswith("."):
            continue
        found = sorted(file for file in part.iterdir() if is_image(file))
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


def refusal(broken: Sequence[Path], files: int) -> InputError:
    """The error that names damaged files."""
    return InputError(
        f"{said_of(broken, files)} Mend or remove them, or leave them out with "
        '`--on-damage skip` (in Python `damaged="skip"`).'
    )


def said_of(broken: Sequence[Path], files: int, most: int = _SHOWN) -> str:
    """A sentence that names damaged files."""
    names = ", ".join(str(file) for file in broken[:most])
    more = f" and {len(broken) - most} more" if len(broken) > most else ""
    return f"{len(broken)} of {files} images cannot be decoded: {names}{more}."


def in_color(image: NDArray[Any], color: str) -> NDArray[np.float32]:
    """Bytes as numbers from 0 to 1, `(height, width, 1)` where `color` is `"gray"`, else as many
    channels as there are."""
    pixels: NDArray[np.float32] = np.divide(image, 255, dtype=np.float32)
    if color == "gray" and image.shape[-1] == 3:
        # ITU-R 601, as Pillow weighs them.
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.asarray((pixels @ weights)[..., None], np.float32)
    return pixels
