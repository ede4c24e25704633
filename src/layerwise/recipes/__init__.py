"""Named experiments. A recipe only chooses values; the loop is the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from layerwise.datasets import Dataset
from layerwise.errors import InputError

OWN = ("width", "head_depth", "top_units")
"""Options that only some recipes have."""
_NO_ARGUMENTS = ("data_dir", "validation_split", "fast", *OWN)
"""Options that are no arguments of `train`."""


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
    search_fraction: float | None = None
    diagnostics: bool | None = None
    engine: str | None = None
    baseline: str | None = None
    on_divergence: str | None = None
    checkpoint_every: float | None = None
    cache_dir: Path | None = None
    cache_limit: int | None = None
    memory_limit: str | None = None
    cache_dtype: str | None = None
    data_dir: Path | None = None
    fast: bool | None = None
    """A minute-long form on fewer rows and epochs, for those that have one."""
    width: int | None = None
    """Units or channels of the first block."""
    head_depth: int | None = None
    """Layers with weights in the head of each stage."""
    top_units: int | None = None
    """Units of the top block."""

    @classmethod
    def from_json(cls, given: Any) -> Options:
        """The options of a run as its `run.json` keeps them.

        Raises:
            InputError: they are no options.
        """
        known = {f.name: f for f in fields(cls)}
        if not isinstance(given, dict) or not set(given) <= set(known):
            raise InputError(f"The options of the run must be among {', '.join(known)}.")
        paths = {name: Path(given[name]) for name in ("data_dir", "cache_dir") if name in given}
        return cls(**{**given, **paths})

    def over(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's arguments of `train` with the user's in their place."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NO_ARGUMENTS}
        return {**defaults, **{name: value for name, value in given.items() if value is not None}}


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
    target: str = ""
    """The published figure of the chosen network, and what differs here."""
    labels: Sequence[int] = ()
    """Where the experiment is a label curve, at so many labels."""
    own: Sequence[str] = ()
    """Those of the options that only some recipes have that this one has."""

    def check(self, options: Options) -> None:
        """Raise `InputError` where an option says nothing to this recipe."""
        for name in OWN:
            if getattr(options, name) is not None and name not in self.own:
                raise InputError(f"{self.name} has no option --{name.replace('_', '-')}.")


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
    from layerwise.recipes import _mnist
    from layerwise.recipes._abalone import ABALONE
    from layerwise.recipes._cifar import GREEDY_CNN
    from layerwise.recipes._digits import DIGITS
    from layerwise.recipes._tutorials import BLOBS_AUTOENCODER, BLOBS_SUPERVISED, CIFAR10_SUPERVISED

    mnist = [_mnist.SDA, _mnist.DBN, _mnist.SUPERVISED, _mnist.NONE, _mnist.PREDSIM]
    mnist += [_mnist.FORWARD_FORWARD, _mnist.LABEL_CURVE]
    tutorials = [BLOBS_SUPERVISED, BLOBS_AUTOENCODER, CIFAR10_SUPERVISED]
    return [DIGITS, *tutorials, *mnist, ABALONE, GREEDY_CNN]
