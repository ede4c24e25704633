"""Showing the events of a run: live on a terminal, a picture in a notebook, lines elsewhere.

`_lines` is what stays, `_state` what a display knows of a run, `_clock` the time that is left,
`_chart` a curve of characters, `_live` a terminal, `_notebook` a notebook.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from layerwise.display._clock import duration as duration
from layerwise.display._lines import metric_text as metric_text
from layerwise.display._lines import print_line
from layerwise.display._lines import stage_line as stage_line
from layerwise.display._live import live
from layerwise.display._notebook import in_notebook, notebook
from layerwise.errors import InputError, complaint
from layerwise.progress import Listener


@contextmanager
def display(verbose: str | int) -> Iterator[Listener]:
    """A listener that shows progress for as long as the context lasts.

    Args:
        verbose: `"auto"`: live on a terminal, a picture in a notebook, lines elsewhere; 1: lines;
            0: nothing. All but the picture goes to standard error.
    """
    if verbose not in ("auto", 0, 1):
        raise InputError(complaint("verbose", 'be "auto", 0 or 1', verbose))
    if verbose == 0:
        yield lambda event: None
    elif verbose == "auto" and in_notebook():
        with notebook() as listener:
            yield listener
    elif verbose == "auto" and _can_redraw():
        with live() as listener:
            yield listener
    else:
        yield print_line


def _can_redraw() -> bool:
    """Whether standard error is a terminal whose cursor moves: one called dumb does not."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
