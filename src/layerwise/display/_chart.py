"""A curve of characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_PLAIN = "    #####"
"""For terminals that know no blocks: a cell is full from its half on."""
_WIDE = 3
"""Columns of a bar and the gap after it, as long as all bars have that room."""


def depth_chart(
    scores: Sequence[float | None], width: int, height: int = 3, *, plain: bool = False
) -> str:
    """Scores by depth as bars, from the smallest, which has the lowest bar, to the largest.

    Args:
        scores: of depth 1, 2, 3 ...; what is None or not finite has a cross in place of a bar.
        width: columns that there are; where not even narrow bars fit, the newest are shown.
        height: rows of the bars; the depths stand in one more below.
        plain: use ASCII alone.

    Returns:
        `height + 1` lines of at most `width` characters; nothing where no score is finite or the
        room is too small.

    >>> print(depth_chart([0.5, 0.75, None, 0.625], width=30, height=2))
    0.75 │   ██    ▁▁
     0.5 │▁▁ ██ ×  ██
          1  2  3  4
    """
    known = [score for score in scores if score is not None and math.isfinite(score)]
    if not known:
        return ""
    low, high = min(known), max(known)
    names = [f"{high:.4g}", *[""] * (height - 2), *[f"{low:.4g}"] * (height > 1)]
    margin = max(map(len, names))
    room = width - margin - 2
    if room < 1 or height < 1:
        return ""
    step = _WIDE if _WIDE * len(scores) <= room + 1 else 1
    shown = list(scores[-room:]) if step == 1 else list(scores)
    levels = [_level(score, low, high, 8 * height) for score in shown]
    cells, edge, cross = (_PLAIN, "|", "x") if plain else (_BLOCKS, "│", "×")
    lines = []
    for row, name in enumerate(names):
        base = 8 * (height - 1 - row)
        bars = [_cell(level, base, cells, cross, max(step - 1, 1)) for level in levels]
        lines.append(f"{name:>{margin}} {edge}" + ("" if step == 1 else " ").join(bars))
    below = " " * (margin + 2) + _axis(len(scores), len(shown), step)
    return "\n".join(line.rstrip() for line in [*lines, below])


def _level(score: float | None, low: float, high: float, most: int) -> int:
    """The height of a bar in eighths of a row, at least 1; 0 for what is not finite."""
    if score is None or not math.isfinite(score):
        return 0
    if high == low:
        return most // 2
    # Halves first: the difference of two large numbers may be more than a number holds.
    share = (score / 2 - low / 2) / (high / 2 - low / 2)
    return 1 + round(share * (most - 1))


def _cell(level: int, base: int, cells: str, cross: str, wide: int) -> str:
    if level == 0:
        return f"{cross if base == 0 else ' ':<{wide}}"
    return cells[min(max(level - base, 0), 8)] * wide


def _axis(last: int, shown: int, step: int) -> str:
    """Every depth below its bar; below narrow bars the first and the last alone."""
    first = last - shown + 1
    if step > 1:
        return "".join(f"{depth:<{step}}" for depth in range(first, last + 1))[: step * shown]
    ends = f"{first}{last:>{max(shown - len(str(first)), 0)}}"
    return ends if len(ends) == shown and len(f"{first}{last}") < shown else str(first)[:shown]
