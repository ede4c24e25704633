"""The depth curve in characters, read back from them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.display._chart import depth_chart

EIGHTHS = " ▁▂▃▄▅▆▇█"
relaxed = settings(deadline=None, database=None, max_examples=200)


def levels_of(chart: str, step: int, count: int) -> list[int]:
    """The height of each bar in eighths."""
    *rows, _ = chart.split("\n")
    bars = [row[row.index("│") + 1 :].ljust(step * count) for row in rows]
    return [
        sum(EIGHTHS.index(row[step * i].replace("×", " ")) for row in bars) for i in range(count)
    ]


@pytest.mark.parametrize(
    ("scores", "width", "height", "expected"),
    [
        (
            [0.9, 0.95, 1.0],
            40,
            3,
            "  1 │      ██\n"
            "    │   ▄▄ ██\n"
            "0.9 │▁▁ ██ ██\n"
            "     1  2  3",
        ),
        ([0.5], 40, 2, "0.5 │\n0.5 │██\n     1"),
        ([0.5, 0.5], 40, 1, "0.5 │▄▄ ▄▄\n     1  2"),
        ([None, 1.0, math.nan], 40, 2, "1 │\n1 │×  ██ ×\n   1  2  3"),
        # Narrow bars, where wide ones have no room; then only the newest.
        ([1, 2, 1, 2, 1, 2, 1, 2, 1, 2], 13, 1, "2 │▁█▁█▁█▁█▁█\n   1       10"),
        ([1, 2, 1, 2, 1, 2, 1, 2, 1, 2], 11, 1, "2 │▁█▁█▁█▁█\n   3     10"),
    ],
    ids=["three", "one", "level", "gaps", "narrow", "newest"],
)  # fmt: skip
def test_the_chart_as_it_stands(
    scores: list[float | None], width: int, height: int, expected: str
) -> None:
    assert depth_chart(scores, width, height) == expected


@pytest.mark.parametrize("scores", [[], [None], [math.nan, math.inf]])
def test_without_a_score_there_is_no_chart(scores: list[float | None]) -> None:
    assert depth_chart(scores, 80) == ""


@pytest.mark.parametrize(("width", "height"), [(5, 3), (0, 3), (80, 0)])
def test_without_room_there_is_no_chart(width: int, height: int) -> None:
    assert depth_chart([0.5, 0.75], width, height) == ""


numbers = st.floats(-1e308, 1e308, allow_nan=False)


@relaxed
@given(scores=st.lists(numbers, min_size=1, max_size=20), height=st.integers(1, 6))
def test_higher_bars_are_larger_scores(scores: list[float], height: int) -> None:
    chart = depth_chart(scores, 90, height)
    levels = levels_of(chart, 3, len(scores))
    low, high = min(scores), max(scores)
    if low == high:
        assert set(levels) == {4 * height}
        return
    assert levels[scores.index(low)] == 1
    assert levels[scores.index(high)] == 8 * height
    for score, level in zip(scores, levels, strict=True):
        share = (score / 2 - low / 2) / (high / 2 - low / 2)
        assert abs(level - 1 - share * (8 * height - 1)) <= 0.5 + 1e-6


@relaxed
@given(
    scores=st.lists(st.none() | st.floats(), max_size=150),
    width=st.integers(0, 130),
    height=st.integers(1, 6),
    plain=st.booleans(),
)
def test_the_chart_fits_whatever_comes(
    scores: list[float | None], width: int, height: int, plain: bool
) -> None:
    chart = depth_chart(scores, width, height, plain=plain)
    lines = chart.split("\n") if chart else []
    assert len(lines) in (0, height + 1)
    assert all(len(line) <= width for line in lines)
    assert chart.isascii() or not plain


def test_ascii_stands_in_for_blocks() -> None:
    chart = depth_chart([0.9, None, 1.0], 40, 2, plain=True)
    assert chart == "  1 |      ##\n0.9 |   x  ##\n     1  2  3"
