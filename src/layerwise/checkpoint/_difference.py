"""Whether what is asked now is the run that was started, and how the two differ, for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise.errors import InputError
from layerwise.progress import Listener, Noted

_MAY_DIFFER = ("versions", "machine")
"""Facts that a resume may find changed: it says so and goes on."""
_UNCOMPARED = ("findings",)
"""Sentences about data whose fingerprint is compared: another version may word them otherwise."""


def where_they_differ(old: str, new: str, most: int = 120) -> tuple[str, str]:
    """Two texts, long ones cut to the neighbourhood of their first difference."""
    if max(len(old), len(new)) <= most:
        return old, new
    first = next(
        (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
        min(len(old), len(new)),
    )
    start = max(0, first - most // 2)
    return tuple(f"...{text[start : start + most]}..." for text in (old, new))  # type: ignore[return-value]


def compare(
    folder: Path, started: Mapping[str, Any], facts: Mapping[str, Any], listen: Listener
) -> None:
    """Refuse to go on with another run than the one that was started.

    Args:
        folder: of the run.
        started: what its `run.json` says.
        facts: what is asked now.
        listen: told of what may differ, and does.

    Raises:
        InputError: they are of another run.
    """
    for name, new in facts.items():
        old = started.get(name)
        if old == new or name in _UNCOMPARED:
            continue
        if name not in _MAY_DIFFER:
            raise InputError(
                f"The run in {folder} was started with another {_said(name, old, new)}"
            )
        listen(
            Noted(
                f"The last bits may differ from those of an uninterrupted run: {name} "
                f"{old} then, {new} now."
            )
        )


def _said(name: str, old: Any, new: Any) -> str:
    """The first part of a fact that differs, by name."""
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in [*old, *new] if old.get(key) != new.get(key))
        return _said(f"{name}.{key}", old.get(key), new.get(key))
    then, now = where_they_differ(repr(old), repr(new))
    return f"`{name}`: {then} then, {now} now. Pass what it was started with."
