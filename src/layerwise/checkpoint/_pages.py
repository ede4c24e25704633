"""The pages of a run: its report and the depth curve, redrawn while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise import files, plots, report
from layerwise.checkpoint._pace import Pace
from layerwise.progress import Event, RunFinished, RunStarted, StageFinished

DEPTH, REPORT, PICTURES = "depth.svg", "report.html", "pictures.json"
EVERY, _MOST = 30.0, 600.0
"""Seconds between two drawings of a run that goes on, which come between its stages: at the least,
and however long one takes."""


class Pages:
    """Draws `report.html` and `depth.svg`, and keeps the pictures that a later drawing needs.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures: dict[str, str] = {}
        self._pace = Pace(EVERY, most=_MOST)
        self.facts: Mapping[str, Any] = {}
        """What `run.json` says."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files that a finished run has of these."""
        return (DEPTH, REPORT, *([PICTURES] if self._pictures else ()))

    def listen(self, event: Event) -> None:
        """Draw what an event brings, where it is time for it."""
        if isinstance(event, RunStarted):
            self._pictures = dict(event.pictures)
        elif isinstance(event, StageFinished):
            if self._pace.due:
                with self._pace.taken():
                    self._draw(event.history, "The depth is chosen at the end.")
        elif isinstance(event, RunFinished) and event.history["stages"]:
            self._pictures |= event.pictures
            if self._pictures:
                files.write_json(self._folder / PICTURES, self._pictures)
            self._draw(event.history, event.explanation)

    def _draw(self, history: Mapping[str, Any], explanation: str) -> None:
        svg, page = draw(history, self.facts, explanation, self._pictures)
        files.write_text(self._folder / DEPTH, svg)
        files.write_text(self._folder / REPORT, page)


def draw(
    history: Mapping[str, Any],
    facts: Mapping[str, Any],
    explanation: str,
    pictures: Mapping[str, str],
) -> tuple[str, str]:
    """The depth curve as SVG, and the report as HTML."""
    svg = plots.to_svg(plots.depth_curve(history))
    return svg, report.render(history, facts, explanation, svg, pictures)
