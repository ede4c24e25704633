"""A notebook: one output that is replaced as the run goes on."""

from __future__ import annotations

import base64
import html
import importlib
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from layerwise import plots
from layerwise.display._lines import line_of
from layerwise.display._state import RunState
from layerwise.errors import visible
from layerwise.progress import Event, Listener, RunFinished, StageFinished

SECONDS = 1.0
"""Between two updates at least: each goes to the browser as a whole."""
_LINES = 30
"""The newest that are shown."""

Send = Callable[[Mapping[str, str], bool], None]
"""Takes a text for each MIME type, and whether it replaces the one before."""


def in_notebook() -> bool:
    """Whether this runs in a kernel of IPython, which nobody imports to find that out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def notebook() -> Iterator[Listener]:
    """An output of the cell that shows the depth curve growing."""
    ipython: Any = importlib.import_module("IPython.display")
    name = secrets.token_hex(8)

    def send(bundle: Mapping[str, str], update: bool) -> None:
        ipython.display(dict(bundle), raw=True, display_id=name, update=update)

    page = Page(send)
    try:
        yield page.listen
    finally:
        page.send()


class Page:
    """The depth curve, where the run stands, and a line a stage.

    Args:
        send: shows it.
        clock: in seconds.
    """

    def __init__(self, send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._send, self._clock = send, clock
        self._state = RunState(clock)
        self._lines: list[str] = []
        self._history: Mapping[str, Any] | None = None
        self._picture = ""
        self._sent: float | None = None

    def listen(self, event: Event) -> None:
        """Take in an event; show it, unless the last update was a moment ago."""
        self._state.listen(event)
        line = line_of(event)
        if line is not None:
            self._lines.append(visible(line))
        if isinstance(event, StageFinished | RunFinished) and event.history["stages"]:
            self._history = event.history
        if self._sent is None or self._clock() - self._sent >= SECONDS:
            self.send()

    def send(self) -> None:
        """Show it as it is now."""
        update = self._sent is not None
        self._sent = self._clock()
        self._send({"text/html": self._html(), "text/plain": self._text()}, update)

    def _text(self) -> str:
        state, lines = self._state, self._lines[-_LINES:]
        parts = [f"{state.title} {state.current()}", state.best(), state.left()]
        now = [] if state.over else [visible(part).strip() for part in parts if part]
        return "\n".join([*lines, *now])

    def _html(self) -> str:
        if self._history is not None:
            history, self._history = self._history, None
            svg = plots.to_svg(plots.depth_curve(history))
            coded = base64.b64encode(svg.encode()).decode()
            # An image of its own: names inside it cannot meet those of another.
            source = f"data:image/svg+xml;base64,{coded}"
            self._picture = f'<img alt="score by depth" src="{source}">'
        return f"{self._picture}<pre>{html.escape(self._text())}</pre>"
