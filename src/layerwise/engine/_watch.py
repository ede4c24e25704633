"""What an engine tells while it trains, and where a training can go on later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from layerwise.errors import InputError


@dataclass(frozen=True)
class Snapshot:
    """All that is needed to go on: arrays by name, and plain facts that JSON can hold."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Watch:
    """One training as its engine sees the outside. This one listens to nothing.

    Attributes:
        start: where to go on; None to begin at the beginning.
    """

    start: Snapshot | None = None

    def epochs(self, done: int, logs: Mapping[str, float]) -> None:
        """Some epochs are done, `done` so far, the last with these metrics."""

    def pause(self, take: Callable[[], Snapshot]) -> None:
        """Called between steps, wherever the training could go on later.

        Args:
            take: copies the state as it stands; valid until the next call of `moves`.
        """

    def moves(self) -> None:
        """Called before the state moves on from where `pause` was called last."""


def fitting(start: Snapshot, name: str, like: Any) -> NDArray[Any]:
    """An array of a snapshot that must have the shape and type of another.

    Raises:
        InputError: it has not: the snapshot is of another network.
    """
    array = start.arrays.get(name)
    if array is None or array.shape != tuple(like.shape) or str(array.dtype) != str(like.dtype):
        kept = "nothing" if array is None else f"shape {array.shape} of {array.dtype}"
        raise InputError(
            f"The checkpoint does not fit this network: {name} must have shape "
            f"{tuple(like.shape)} of {like.dtype}, and the checkpoint has {kept}. Pass the "
            "arguments that the run was started with."
        )
    return array


def restored_curves(start: Snapshot) -> dict[str, list[float]]:
    """The curves of a snapshot, whose arrays are named `curve.NAME`."""
    return {
        name.removeprefix("curve."): array.tolist()
        for name, array in start.arrays.items()
        if name.startswith("curve.")
    }
