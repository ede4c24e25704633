"""What was found in a table, for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_MOST = 1000
"""Columns, and warnings, that a run keeps: its `run.json` is read as a whole."""
_LONGEST = 300
"""Characters of a text in them; names are kept whole in the preparation."""


@dataclass(frozen=True)
class Found:
    """One column.

    Attributes:
        name: as in the header.
        kind: number, boolean, category, constant, empty, duplicate, or left out where the user
            said so.
        detail: such as its mean or its values.
        missing: training rows without a value.
        inputs: numbers that it gives the network for each row.
        leak: whether it tells the target outright.
    """

    name: str
    kind: str
    detail: str
    missing: int
    inputs: int
    leak: bool = False


@dataclass(frozen=True)
class Findings:
    """Everything that was found, in the order of the columns.

    Attributes:
        target: what is predicted and how that was decided, in a sentence.
        columns: each column but the target.
        warnings: what the user should look at, a sentence each.
    """

    target: str
    columns: tuple[Found, ...]
    warnings: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The findings as plain data for a run's record, with long texts and lists cut.

        Example:
            >>> found = Found("size", "number", "1 to 3", 0, 1)
            >>> Findings("kind: 2 classes (texts)", (found,)).describe()["columns"][0]["detail"]
            '1 to 3'
        """
        return {
            "target": _cut(self.target),
            "columns": [_described(column) for column in self.columns[:_MOST]],
            "more_columns": max(0, len(self.columns) - _MOST),
            "warnings": [_cut(warning) for warning in self.warnings[:_MOST]],
            "more_warnings": max(0, len(self.warnings) - _MOST),
        }


def _described(column: Found) -> dict[str, Any]:
    told = asdict(column)
    return {**told, "name": _cut(column.name), "detail": _cut(column.detail)}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
