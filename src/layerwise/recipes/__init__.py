"""Named experiments. A recipe only chooses values; the loop is the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from layerwise.datasets import Dataset
from layerwise.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line may change; None leaves the recipe's own value."""

    seed: int = 0
    max_depth: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    validation_split: float | None = None
    replicates: int | None = None
    head: str | None = None
    objective: str | None = None
    engine: str | None = None
    baseline: str | None = None
    data_dir: Path | None = None

    def over(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's arguments of `train` with the user's in their place."""
        names = ("max_depth", "epochs", "batch_size", "replicates", "head", "objective", "engine")
        given = {name: getattr(self, name) for name in (*names, "baseline")}
        return {**defaults, "seed": self.seed} | {k: v for k, v in given.items() if v is not None}


class Plan(Protocol):
    """From options to a data set and the arguments of `train`."""

    def __call__(self, options: Options) -> tuple[Dataset, dict[str, Any]]: ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A complete experiment under a name."""

    name: str
    summary: str
    plan: Plan
    published: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """A table from the source by depth, shown beside ours: `"test.accuracy"` to values."""
    source: str = ""
    """Where `published` comes from, and what differs here."""


def find_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        InputError: there is none.
    """
    for recipe in all_recipes():
        if recipe.name == name:
            return recipe
    names = ", ".join(recipe.name for recipe in all_recipes())
    raise InputError(f"There is no recipe {name!r}. Choose one of: {names}.")


def all_recipes() -> list[Recipe]:
    """Every recipe, the default one first."""
    from layerwise.recipes._digits import DIGITS
    from layerwise.recipes._tutorials import BLOBS_AUTOENCODER, BLOBS_SUPERVISED, CIFAR10_SUPERVISED

    return [DIGITS, BLOBS_SUPERVISED, BLOBS_AUTOENCODER, CIFAR10_SUPERVISED]
