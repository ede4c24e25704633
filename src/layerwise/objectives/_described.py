"""Objectives that were given the same arguments are the same objective."""

from __future__ import annotations

import inspect
from typing import Any

from layerwise.objectives._names import BY_NAME


class Described:
    """Equality, hash and text from the arguments of the constructor.

    Stages with equal objectives share a compiled program, also where a callable of depth makes a
    new object for each.

    Args:
        arguments: by name, as the user gave them.
        name: of the class, to be given as `objective=` instead of an object.
    """

    def __init_subclass__(cls, name: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if name is not None:
            BY_NAME[name] = cls

    def __init__(self, **arguments: Any) -> None:
        self._arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in arguments.items()
        }

    def __repr__(self) -> str:
        """The call that makes it; what was left at its default is left out."""
        known = inspect.signature(type(self)).parameters
        told = {
            name: value
            for name, value in self._arguments.items()
            if name not in known or value != known[name].default
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in told.items())})"

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, Described)
            and self._arguments == other._arguments
        )

    def __hash__(self) -> int:
        return hash((type(self), tuple(self._arguments.items())))
