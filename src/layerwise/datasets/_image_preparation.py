"""How image files become a network's inputs: what a run on a folder of images keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._images import Damaged, decode, in_color, is_image
from layerwise.errors import DamagedError, InputError, UnknownFormatError

_SCHEMA = 1
_MOST = 1 << 24
"""Pixels of one image, or classes: more is no description of a network's inputs."""
_KEYS = ("kind", "schema", "height", "width", "channels", "classes")


@dataclass(frozen=True)
class ImagePreparation:
    """From PNG and JPEG files to rows of a network. `Dataset.from_images` makes one.

    Attributes:
        height, width: that each image is scaled to.
        channels: 1 for gray, 3 for red, green and blue.
        classes: the labels in the order of a network's outputs.
    """

    height: int
    width: int
    channels: int
    classes: tuple[str, ...]

    def transform(
        self, files: Sequence[Path], damaged: Damaged = "refuse"
    ) -> tuple[NDArray[np.float32], list[Path], list[Path]]:
        """Decode files, and scale them to the size of the training images.

        Args:
            files: PNG or JPEG.
            damaged: `"refuse"` or `"skip"`.

        Returns:
            `(n, height, width, channels)` from 0 to 1, the files that these are, and those that
            cannot be decoded.

        Raises:
            InputError: a file is damaged, and `damaged` is `"refuse"`.
        """
        whole, broken = decode(files, (self.height, self.width), damaged)
        color = "gray" if self.channels == 1 else "rgb"
        x = np.empty((len(whole), self.height, self.width, self.channels), np.float32)
        for row, image in zip(x, whole.values(), strict=True):
            row[...] = in_color(image, color)
        return x, list(whole), broken

    def to_json(self) -> str:
        """The preparation as text; `from_json` gives an equal one."""
        content = {"kind": "images", "schema": _SCHEMA, **vars(self)}
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ImagePreparation:
        """Read what `to_json` has written.

        Raises:
            DamagedError: it is something else.
            UnknownFormatError: it is of another schema.
        """
        content = _content(text)
        if content.get("kind") != "images":
            raise DamagedError("The preparation is none of images.")
        if content.get("schema") != _SCHEMA:
            raise UnknownFormatError(
                f"The preparation has schema {content.get('schema')!r}, and this version of "
                f"layerwise reads {_SCHEMA}. Use the version that wrote it."
            )
        sizes = [content.get(name) for name in ("height", "width", "channels")]
        classes = content.get("classes")
        if (
            set(content) != set(_KEYS)
            or not all(type(size) is int and 0 < size <= _MOST for size in sizes)
            or content["height"] * content["width"] > _MOST
            or content["channels"] not in (1, 3)
            or not isinstance(classes, list)
            or not all(isinstance(label, str) for label in classes)
            or len(classes) < 2
        ):
            raise DamagedError(f"The preparation of images must have {', '.join(_KEYS)}.")
        return cls(content["height"], content["width"], content["channels"], tuple(classes))


def is_of_images(text: str | bytes) -> bool:
    """Whether a preparation is one of images; of a table it is else, or nothing at all."""
    try:
        return _content(text).get("kind") == "images"
    except DamagedError:
        return False


def _content(text: str | bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError("The preparation is no JSON.") from error
    if not isinstance(content, dict):
        raise DamagedError("The preparation is no JSON object.")
    return content


def image_files(given: Sequence[str | Path]) -> list[Path]:
    """The PNG and JPEG files that are named, and those in the folders that are named.

    Args:
        given: files, in their order; of a folder every file at any depth, by name.

    Raises:
        InputError: there is no such file, it has another ending, or a folder holds none.
    """
    files: list[Path] = []
    for path in map(Path, given):
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if is_image(file))
            if not found:
                raise InputError(f"The folder {path} holds no PNG or JPEG file.")
            files += found
        elif not path.is_file():
            raise InputError(f"There is no file {path}.")
        elif not is_image(path):
            raise InputError(f"{path} must be a PNG or JPEG file, by its ending, or a folder.")
        else:
            files.append(path)
    return files
