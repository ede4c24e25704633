"""What the columns of a table hold, judged by the training rows."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError
from layerwise.tables._column import Column, is_number

LONG_TEXT = 60
"""Characters on average, above which texts are prose and no categories."""
FEW_TEXTS = 5
"""So many different texts are categories, also in a table of few rows."""
FEW_NUMBERS = 20
"""So many different numbers among texts may be codes; more are numbers with a mistake in them."""
_WITH_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?|[+-]?\d+,\d+")


@dataclass(frozen=True)
class Kind:
    """What one column holds.

    Attributes:
        name: number, boolean, category, constant, empty, date or text.
        detail: for people.
        counts: of a category, its values in the training rows and how often each is there.
        warning: a sentence, or nothing.
        refusal: why the column cannot be used, or nothing.
    """

    name: str
    detail: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    warning: str = ""
    refusal: str = ""


def kind_of(column: Column, rows: NDArray[np.integer], *, category: bool = False) -> Kind:
    """Find out what a column holds.

    Args:
        column: all rows: a value that can never be used is refused wherever it stands.
        rows: the numbers of the training rows, by which the kind is judged.
        category: the user says that the column, of texts, holds categories, whatever they are.

    Raises:
        InputError: there is an infinity, or a NUL byte in a text.
    """
    if column.stored == "date":
        example = next((value for value in column.values if value is not None), None)
        return Kind("date", refusal=f"dates, such as {example}")
    if column.numeric:
        _check_finite(column)
        return _of_numbers(column, column.values[rows])
    if column.stored == "text":
        _check_text(column)
    return _of_texts(column, column.values[rows], asked=category)


def _of_numbers(column: Column, values: NDArray[np.float64]) -> Kind:
    present = values[~np.isnan(values)]
    if not len(present):
        return Kind("empty")
    least, most = float(present.min()), float(present.max())
    if least == most and len(present) == len(values):
        return Kind("constant", f"always {least:g}")
    if column.stored == "boolean":
        return Kind("boolean", f"{present.mean():.0%} true")
    return Kind("number", f"{least:g} to {most:g}")


def _of_texts(column: Column, values: NDArray[np.object_], *, asked: bool) -> Kind:
    counts = Counter(value for value in values.tolist() if value is not None)
    total = sum(counts.values())
    if not total:
        return Kind("empty")
    first = next(iter(counts))
    if len(counts) == 1 and total == len(values):
        return Kind("constant", f"always {first!r}")
    if asked:
        return _category(counts, "")
    if refusal := _numbers_gone_wrong(column, counts):
        return Kind("text", refusal=refusal)
    length = sum(len(text) * count for text, count in counts.items()) / total
    if len(counts) > max(FEW_TEXTS, total / 2) or length > LONG_TEXT:
        example = first if len(first) <= 40 else f"{first[:40]}..."
        if all(is_number(text) for text in counts):
            return Kind("text", refusal=f"numbers that are written as texts, such as {example!r}")
        return Kind("text", refusal=f"free text: {len(counts)} values such as {example!r}")
    warning = ""
    numeric = sum(count for text, count in counts.items() if is_number(text))
    if numeric > total / 2:
        warning = f"The column {column.name!r} holds numbers and texts: taken as categories."
    return _category(counts, warning)


def _category(counts: Counter[str], warning: str) -> Kind:
    shown = ", ".join(text if len(text) <= 20 else f"{text[:20]}..." for text in sorted(counts)[:4])
    more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
    return Kind("category", shown + more, counts, warning)


def _numbers_gone_wrong(column: Column, counts: Counter[str]) -> str:
    """Why a column of text was meant to be one of numbers, or nothing."""
    total = sum(counts.values())
    commas = [text for text in counts if _WITH_COMMA.fullmatch(text)]
    if sum(counts[text] for text in commas) > total / 2:
        return f"numbers with a comma, such as {commas[0]!r}: write them with a point alone"
    numeric = [text for text in counts if is_number(text)]
    if len(numeric) <= FEW_NUMBERS or sum(counts[text] for text in numeric) <= total / 2:
        return ""
    bad = [(i, text) for i, text in enumerate(column.values, 1) if text and not is_number(text)]
    if not bad:  # As of zip codes in a frame: whose type says text means it.
        return ""
    return f"numbers, but row {bad[0][0]} holds {bad[0][1][:40]!r}: mend that value or leave it out"


def _check_finite(column: Column) -> None:
    bad = np.isinf(column.values)
    if bad.any():
        raise InputError(
            f"The column {column.name!r} must hold finite numbers. Received infinity, or a number "
            f"too large to be one, in {int(bad.sum())} rows, first in row {int(bad.argmax()) + 1}. "
            f"Mend it, or leave the column out with `--drop {column.name}`."
        )


def _check_text(column: Column) -> None:
    for row, text in enumerate(column.values, 1):
        if text is not None and "\0" in text:
            raise InputError(
                f"The column {column.name!r} holds a NUL byte in row {row}. The file is damaged, "
                "or no text."
            )
