"""What was found in a table, for people."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    name: str
    kind: str
    detail: str
    missing: int
    inputs: int


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
