"""Arguments of objectives: numbers of the right kind in the right range."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from layerwise.errors import InputError, InputTypeError, complaint


def whole(name: str, value: Any, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        InputTypeError: it is no whole number.
        InputError: it is smaller.
    """
    expected = f"be at least {least}" if isinstance(value, Integral) else "be a whole number"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputTypeError(complaint(name, expected, value))
    if value < least:
        raise InputError(complaint(name, expected, value))
    return int(value)


def real(name: str, value: Any, expected: str, fits: Callable[[float], bool]) -> float:
    """A finite number that fits.

    Args:
        name: of the argument.
        value: as given.
        expected: what it must do, for the error.
        fits: whether a number is one.

    Raises:
        InputTypeError: it is no number.
        InputError: it does not fit.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputTypeError(complaint(name, f"be a number and {expected}", value))
    if not (math.isfinite(value) and fits(float(value))):
        raise InputError(complaint(name, expected, value))
    return float(value)


def rate(name: str, value: Any) -> float:
    """A share in [0, 1)."""
    return real(name, value, "be a rate in [0, 1)", lambda v: 0 <= v < 1)


def at_least_0(name: str, value: Any) -> float:
    """A weight of a term in a loss."""
    return real(name, value, "be 0 or more", lambda v: v >= 0)


def above_0(name: str, value: Any) -> float:
    """A scale."""
    return real(name, value, "be above 0", lambda v: v > 0)


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """One of these words."""
    if not isinstance(value, str) or value not in known:
        choices = " or ".join(f'"{word}"' for word in known)
        if len(known) > 2:
            choices = f"one of {', '.join(known)}"
        raise InputError(complaint(name, f"be {choices}", value))
    return value
