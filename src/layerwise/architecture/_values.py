"""Plain values of a description: their types, their sizes, and how an error shows them.

Every function takes the value and the place where it stands, for the message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from layerwise.architecture import _schema
from layerwise.errors import DamagedError


class Found(str):
    """A finding in words, which is not put in quotes."""


@dataclass
class Walk:
    """What is counted on the way through a description."""

    foreign: bool = False
    """Inside the configuration of a user's own layer, whose class reads it in Keras' own way."""
    depth: int = 0
    layers: int = 0
    values: int = 0
    own: set[str] = field(default_factory=set)
    """The names of the users' own classes."""

    def count(self, where: str) -> None:
        """Count one value."""
        self.values += 1
        if self.values > _schema.MAX_VALUES:
            refuse(where, f"at most {_schema.MAX_VALUES:,} values in all", Found("more"))


def shown(value: Any) -> str:
    """A value in an error message: short, on one line, and safe to print on a terminal."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "...")
    if type(value) is int and abs(value) >= 10**20:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def one_line(error: Exception) -> str:
    """What an exception of Keras says first, safe to print on a terminal."""
    lines = (line.strip() for line in _COLOUR.sub("", str(error)).splitlines())
    # Keras opens with where it was, and says what happened in the line after that.
    told = (line for line in lines if line and not line.startswith("Exception encountered"))
    reason = next(told, "no reason given")
    reason = "".join(c if c.isprintable() else "?" for c in reason[:300])
    return f"{type(error).__name__}: {reason}"


def refuse(where: str, expected: str, received: Any) -> NoReturn:
    """Raise `DamagedError` with the place, what should stand there, and what does."""
    if len(where) > 120:
        where = f"{where[:50]}...{where[-50:]}"
    raise DamagedError(
        f"The description of the network is damaged at {where}: expected {expected}, found "
        f"{received if isinstance(received, Found) else shown(received)}. Do not use this file; "
        "restore it from a copy."
    )


def check_keys(value: Any, keys: Iterable[str], where: str) -> None:
    """`value` must be a dictionary of exactly these keys."""
    if type(value) is not dict:
        refuse(where, "a dictionary", value)
    for key in value:
        if key not in keys:
            refuse(where, "only keys that are known", key)
    for key in sorted(keys, key=str):
        if key not in value:
            refuse(where, f"the key `{key}`", Found("none"))


def listed(value: Any, where: str) -> list[Any]:
    """`value` must be a list that is not too long."""
    if type(value) is not list:
        refuse(where, "a list", value)
    if len(value) > _schema.MAX_LIST:
        refuse(where, f"at most {_schema.MAX_LIST:,} entries", len(value))
    return value


def one_of(value: Any, allowed: frozenset[str], where: str) -> None:
    """`value` must be one of these words."""
    if type(value) is not str or value not in allowed:
        refuse(where, "a name that is on the list", value)


def integer(value: Any, where: str, low: int = -_schema.MAX_INTEGER) -> None:
    """`value` must be an integer of a sensible size."""
    high = _schema.MAX_SEED if where.endswith(".seed") else _schema.MAX_INTEGER
    if type(value) is not int or not low <= value <= high:
        refuse(where, f"an integer from {low} to {high}", value)


def boolean(value: Any, where: str) -> None:
    """`value` must be True or False."""
    if type(value) is not bool:
        refuse(where, "True or False", value)


def text(value: Any, where: str) -> None:
    """`value` must be a text that is not too long and can be written."""
    if type(value) is not str:
        refuse(where, "a text", value)
    if len(value) > _schema.MAX_TEXT:
        refuse(where, f"at most {_schema.MAX_TEXT:,} characters", len(value))
    if any("\ud800" <= character <= "\udfff" for character in value):
        refuse(where, "whole characters", value)


def name(value: Any, where: str) -> None:
    """`value` must be what Keras can take for the name of a layer."""
    text(value, where)
    # Keras refuses the slash itself, but only for layers that take a name.
    if not value or "/" in value or "\0" in value:
        refuse(where, "a name without slashes", value)


def shape(value: Any, where: str) -> None:
    for i, size in enumerate(listed(value, where)):
        if size is not None:
            integer(size, f"{where}[{i}]", low=0)
    if math.prod(size for size in value[1:] if size is not None) > _schema.MAX_ELEMENTS:
        refuse(where, f"at most {_schema.MAX_ELEMENTS:,} numbers in a sample", Found("more"))


def plain(value: Any, where: str, walk: Walk, nesting: int = 0) -> None:
    """`value` must be None, a bool, a finite number, a short text, or a list of these."""
    walk.count(where)
    if value is None or type(value) is bool:
        return
    if type(value) is int:
        integer(value, where)
    elif type(value) is float:
        if not math.isfinite(value):
            refuse(where, "a finite number", value)
    elif type(value) is str:
        text(value, where)
    elif type(value) is not list:
        refuse(where, "plain data", value)
    elif nesting == _schema.MAX_NESTING:
        refuse(where, f"lists at most {_schema.MAX_NESTING} deep", Found("more"))
    else:
        for i, item in enumerate(listed(value, where)):
            plain(item, f"{where}[{i}]", walk, nesting + 1)
