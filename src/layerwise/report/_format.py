"""Numbers for reading."""

from __future__ import annotations

from typing import Any

from layerwise.display import duration, metric_text

_DASH = "–"


def format_metric(metric: Any) -> str:
    """A metric: `0.9712`, `0.9712 ± 0.0031`, or a dash.

    >>> format_metric(None)
    '–'
    """
    return metric_text(metric, _DASH)


def format_seconds(seconds: float | None) -> str:
    """A time span.

    >>> [format_seconds(s) for s in (0.034, 12.34, 75.2, 4000.0)]
    ['0.03 s', '12.3 s', '1 min 15 s', '1 h 07 min']
    """
    if seconds is None:
        return _DASH
    if seconds < 10:
        return f"{seconds:.2f} s"
    # Below a minute a cost is told more exactly than a time that is left.
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(seconds)


def format_count(number: float | None) -> str:
    """A large number in short: operations, or operations a second.

    >>> [format_count(n) for n in (950, 135_746_512, 2.5e12, None)]
    ['950', '136 M', '2.5 T', '–']
    """
    return _short(number, 1000.0, ("", " k", " M", " G", " T", " P", " E"))


def format_bytes(number: float | None) -> str:
    """A size.

    >>> [format_bytes(n) for n in (0, 345_088, 493_785_088)]
    ['0 B', '345 kB', '494 MB']
    """
    return _short(number, 1000.0, (" B", " kB", " MB", " GB", " TB"))


def _short(number: float | None, step: float, units: tuple[str, ...]) -> str:
    if number is None:
        return _DASH
    power = 0
    while abs(number) >= step and power < len(units) - 1:
        number, power = number / step, power + 1
    digits = 0 if abs(number) >= 10 or float(number).is_integer() else 1
    return f"{number:.{digits}f}{units[power]}"
