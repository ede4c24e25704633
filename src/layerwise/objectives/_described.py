"""Objectives that were given the same arguments are the same objective."""

from __future__ import annotations

from typing import Any


class Described:
    """Equality, hash and text from the arguments of the constructor.

    Stages with equal objectives share a compiled program, also where a callable of depth makes a
    new object for each.

    Args:
        arguments: by name, as the user gave them.
    """

    def __init__(self, **arguments: Any) -> None:
        self._arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in arguments.items()
        }

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        return f"{type(self).__name__}({inside})"

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, Described)
            and self._arguments == other._arguments
        )

    def __hash__(self) -> int:
        return hash((type(self), tuple(self._arguments.items())))
