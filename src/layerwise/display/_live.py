"""A terminal: one region that is redrawn below, finished stages scroll up as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layerwise.display._chart import depth_chart
from layerwise.display._lines import line_of
from layerwise.display._state import RunState
from layerwise.errors import visible
from layerwise.progress import Event, Listener, Noted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REDRAWS = 4
"""A second: enough to see it move, too few to flicker or to cost anything."""
_ROWS_OF_CHART = 3
_LOW = 12
"""Rows of a terminal below which the chart is left out."""
_BAR = 20


@contextmanager
def live() -> Iterator[Listener]:
    """The region, gone at the end; what it scrolled up stays."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    shown = Region(console)
    with Live(
        console=console,
        get_renderable=shown.picture,
        refresh_per_second=REDRAWS,
        transient=True,
    ):
        yield shown.listen


class Region:
    """What is redrawn, and the lines that stay.

    Args:
        console: to write on.
        state: of the run.
    """

    def __init__(self, console: Console, state: RunState | None = None) -> None:
        self._console = console
        self._state = RunState() if state is None else state

    def listen(self, event: Event) -> None:
        """Take in an event; print what stays of it above the region."""
        self._state.listen(event)
        line = line_of(event)
        if line is not None:
            # A note is a sentence that must be read whole; a stage is one line of a table.
            whole = isinstance(event, Noted)
            self._console.print(
                visible(line),
                highlight=False,
                markup=False,
                no_wrap=not whole,
                overflow="fold" if whole else "ellipsis",
            )

    def picture(self) -> RenderableType:
        """The training at hand, the best depth so far, the time left and the curve."""
        from rich.console import Group

        if self._state.over:
            return Group()
        lines: list[RenderableType] = [self._bar()]
        parts: list[Callable[[], str]] = [self._state.best, self._state.left]
        lines += [_line(text) for part in parts if (text := part())]
        if len(self._state.scores) > 1 and self._console.height >= _LOW:
            plain = not self._console.encoding.startswith("utf")
            width = min(self._console.width, 80)
            chart = depth_chart(self._state.scores, width, _ROWS_OF_CHART, plain=plain)
            lines += [_line(line) for line in chart.splitlines()]
        return Group(*lines)

    def _bar(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        state = self._state
        if not state.total:
            return _line(state.title)
        row = Table.grid(padding=(0, 1))
        for width in (None, _BAR, None):
            row.add_column(no_wrap=True, overflow="ellipsis", width=width)
        bar = ProgressBar(total=state.total, completed=state.epoch, width=_BAR)
        row.add_row(_line(state.title), bar, _line(state.current()))
        return row


def _line(text: str) -> RenderableType:
    from rich.text import Text

    return Text(visible(text), no_wrap=True, overflow="ellipsis")
