"""What objectives are called, in arguments and in the history."""

from __future__ import annotations

from typing import Any

from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.objectives._protocol import Objective

BY_NAME: dict[str, type[Any]] = {}
"""The names that `objective=` accepts; each class of ours adds itself."""


def by_name(given: Any) -> Objective:
    """An objective from its name, or as it came.

    Raises:
        InputError: no objective has that name.
        InputTypeError: it is no objective.
    """
    if isinstance(given, str):
        if given not in BY_NAME:
            raise InputError(
                f"Unknown objective {given!r}. Choose one of: {', '.join(sorted(BY_NAME))}."
            )
        if given == "mixed":
            raise InputError(
                'A mixture needs its parts. Pass `Mixed({"supervised": 0.5, "rbm": 0.5})`.'
            )
        return BY_NAME[given]()
    if isinstance(given, type) or not isinstance(given, Objective):
        raise InputTypeError(
            complaint("objective", "be a name or have the methods head and loss", given)
        )
    return given


def name_of(objective: Objective) -> str:
    """How an objective is called in the history: its name, or the name of its class."""
    return next(
        (name for name, kind in BY_NAME.items() if type(objective) is kind),
        type(objective).__name__,
    )
