"""A run on a folder of the user's own images: everything that its `run.json` needs to go on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import keras

from layerwise.datasets import Dataset
from layerwise.errors import DamagedError, InputError
from layerwise.objectives import Supervised
from layerwise.recipes import Options, Recipe
from layerwise.recipes.table import finish

WIDTH = 32
"""Channels of each block where the user says nothing."""
_POOLED = 8
"""A map with so many pixels on its shorter side, or more, is halved by its block."""


@dataclass(frozen=True, kw_only=True)
class ImageJob:
    """What `layerwise train FOLDER` was given beside the options that every recipe has.

    Attributes:
        data: the folder; kept with its whole path, so that a resume may come from anywhere.
        size: of the sides that each image is scaled to, or None where all have one size.
        color: `"auto"`, `"gray"` or `"rgb"`.
        damaged: `"refuse"` or `"skip"`.
        test: a folder to score the chosen network on, or None.
        fine_tune: epochs of joint training after growth, or None for no such training.
    """

    key: ClassVar[str] = "images"
    """Under which `run.json` keeps it."""

    data: Path
    size: int | None = None
    color: str = "auto"
    damaged: str = "refuse"
    test: Path | None = None
    fine_tune: int | None = None

    def recipe(self) -> Recipe:
        """The job as a recipe that is not on the list."""
        name = self.data.resolve().name
        return Recipe(name=name, summary=f"the images in {self.data}", plan=self.plan)

    def plan(self, options: Options) -> tuple[Dataset, dict[str, Any]]:
        """Read the images; a convolution of 3 pixels with relu a stage, with pooling while the map
        is large, where the user says nothing else.

        Raises:
            InputError: the folder cannot be used, or an option says nothing.
        """
        if options.objective is not None and options.head_depth is not None:
            raise InputError("`--head-depth` is for the objective supervised: leave one out.")
        split = 0.2 if options.validation_split is None else options.validation_split
        with warnings.catch_warnings():
            # What is left out is in `findings`, which the command line prints.
            warnings.filterwarnings("ignore", ".*cannot be decoded", UserWarning)
            data = Dataset.from_images(
                self.data,
                size=self.size,
                color=self.color,  # type: ignore[arg-type]
                damaged=self.damaged,  # type: ignore[arg-type]
                validation_split=split,
                test_folder=self.test,
                seed=options.seed,
                memory_limit=options.memory_limit,
            )
        defaults = {
            "block": _blocks(options.width or WIDTH, min(data.train.shape[:2])),
            "objective": Supervised(head_depth=options.head_depth or 1),
            **finish(split, self.fine_tune),
        }
        return data, options.over(defaults)

    def to_json(self) -> dict[str, Any]:
        """The job for `run.json`."""
        given = {**asdict(self), "data": str(self.data.resolve())}
        if self.test is not None:
            given["test"] = str(self.test.resolve())
        return given

    @classmethod
    def from_json(cls, given: Any) -> ImageJob:
        """The job of a run as its `run.json` keeps it.

        Raises:
            DamagedError: it is no job.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(given, Mapping) or set(given) != known or not _is_job(given):
            raise DamagedError(f"The images of the run must have {', '.join(sorted(known))}.")
        test = None if given["test"] is None else Path(given["test"])
        return cls(**{**given, "data": Path(given["data"]), "test": test})


def _is_job(given: Mapping[str, Any]) -> bool:
    """Whether each entry has its type."""
    return (
        all(isinstance(given[name], str) for name in ("data", "color", "damaged"))
        and isinstance(given["test"], (str, type(None)))
        and all(given[name] is None or type(given[name]) is int for name in ("size", "fine_tune"))
    )


def _blocks(width: int, side: int) -> Callable[[int], keras.Layer]:
    """Blocks by depth for maps whose shorter side has so many pixels at first."""

    def block(depth: int) -> keras.Layer:
        left = side
        for _ in range(depth - 1):
            left = left // 2 if left >= _POOLED else left
        layers: list[keras.Layer] = [
            keras.layers.Conv2D(width, 3, padding="same", activation="relu")
        ]
        if left >= _POOLED:
            layers.append(keras.layers.MaxPooling2D())
        return keras.Sequential(layers)

    return block
