"""The run folder: it follows the events of a run and keeps what they say on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from layerwise import files, plots, report
from layerwise.progress import Event, RunFinished, RunStarted, StageFinished


class RunFolder:
    """A folder with `run.json`, `history.json`, `model.keras`, `depth.svg` and `report.html`.

    Nothing is touched before the run has started; then the folder is claimed, which raises
    `InputError` where it cannot be used.

    Args:
        path: a folder that does not exist yet, or an empty one.
        request: what a recipe or the command line adds to `run.json`.
    """

    def __init__(self, path: Path, request: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._facts: Mapping[str, Any] = request or {}
        self._pictures: Mapping[str, str] = {}

    def listen(self, event: Event) -> None:
        """Write what an event brings."""
        if isinstance(event, RunStarted):
            files.claim_folder(self.path)
            self._facts, self._pictures = {**event.facts, **self._facts}, event.pictures
            files.write_json(self.path / "run.json", self._facts)
        elif isinstance(event, StageFinished):
            self._write_history(event.history)
        elif isinstance(event, RunFinished):
            self._write_history(event.history)
            if event.history["stages"]:
                self._write_pages(event.history, event.explanation)

    def keep_model(self, model: keras.Model) -> None:
        """Write the chosen network."""
        with files.replacing(self.path / "model.keras") as temporary:
            model.save(temporary)

    def _write_history(self, history: Mapping[str, Any]) -> None:
        files.write_json(self.path / "history.json", history)

    def _write_pages(self, history: Mapping[str, Any], explanation: str) -> None:
        svg = plots.to_svg(lambda ax: plots.depth_curve(history, ax))
        files.write_text(self.path / "depth.svg", svg)
        page = report.render(history, self._facts, explanation, svg, self._pictures)
        files.write_text(self.path / "report.html", page)
