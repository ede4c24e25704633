"""Which networks are worth comparing with, and for how long each trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Length = Literal["epochs", "operations", "seconds"]


@dataclass(frozen=True)
class Rival:
    """A network that never grew, and the length of its training.

    Attributes:
        name: in the history.
        about: in a few words.
        equal: what of its training is as much as growing took.
        shallow: whether it has the first block alone.
        frozen: whether its blocks stay as they were drawn, and only its head trains.
        modern: whether it is rebuilt with what is usual today.
    """

    name: str
    about: str
    equal: Length = "epochs"
    shallow: bool = False
    frozen: bool = False
    modern: bool = False


_QUICK = (
    Rival("end_to_end", "the same network trained end to end for as many epochs"),
    Rival("shallow", "the first block alone for as many epochs", shallow=True),
)
_MORE = (
    Rival(
        "equal_operations",
        "the same network end to end for as many floating-point operations as all of growing",
        equal="operations",
    ),
    Rival(
        "equal_time",
        "the same network end to end for as many seconds of training as all of growing",
        equal="seconds",
    ),
    Rival(
        "random_features",
        "the same blocks as they were drawn, with a head trained on them",
        frozen=True,
    ),
    Rival(
        "modern",
        "the same widths end to end with BatchNorm, He initialization, relu, dropout of 20% and "
        "AdamW at 0.001",
        modern=True,
    ),
)


def rivals(extent: str, depth: int) -> tuple[Rival, ...]:
    """The networks to compare with, the one of equal epochs first: others go by its speed.

    Args:
        extent: `"quick"` or `"full"`.
        depth: of the grown network; one of a single block is its own shallow one.
    """
    chosen = _QUICK + (_MORE if extent == "full" else ())
    return tuple(rival for rival in chosen if not (rival.shallow and depth == 1))
