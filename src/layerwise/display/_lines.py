"""What stays on the screen of a run: plain lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from layerwise.errors import visible
from layerwise.progress import Event, Noted, PhaseStarted, StageFinished


def stage_line(stage: Mapping[str, Any], monitor: str) -> str:
    """One stage in one line of plain text."""
    split, _, name = monitor.partition(".")
    parts = [f"stage {stage['depth']}"]
    for shown in dict.fromkeys(("train", split)):
        parts.append(
            f"{shown} {name.replace('_', ' ')} {metric_text((stage[shown] or {}).get(name))}"
        )
    parts.append(f"{stage['epochs']} epoch{'s' if stage['epochs'] != 1 else ''}")
    parts.append(f"{stage['seconds']:.1f} s")
    if stage["stop_reason"] != "completed":
        parts.append(stage["stop_reason"].replace("_", " "))
    if stage.get("diverged"):
        parts.append(f"{stage['diverged']} diverged")
    if stage.get("retries"):
        parts.append(f"retried {stage['retries']} times at half the learning rate")
    if stage.get("message"):
        parts.append(stage["message"])
    return ", ".join(parts)


def metric_text(metric: Any, none: str = "-") -> str:
    """A metric as it stands in a record, in a few characters.

    >>> metric_text({"mean": 0.5, "std": 0.01, "values": [0.49, 0.51]})
    '0.5000 ± 0.0100'
    """
    if isinstance(metric, Mapping):
        mean, std = metric["mean"], metric["std"]
        return none if mean is None else f"{mean:.4f} ± {std:.4f}"
    return none if metric is None else f"{metric:.4f}"


def line_of(event: Event) -> str | None:
    """What stays on the screen of an event."""
    if isinstance(event, StageFinished):
        line = stage_line(event.history["stages"][-1], event.history["monitor"])
        return f"{line}, from its checkpoint" if event.restored else line
    return event.text if isinstance(event, Noted) else None


def print_line(event: Event) -> None:
    """Print what an event leaves, without any control character, where nothing can be redrawn."""
    line = event.name if isinstance(event, PhaseStarted) else line_of(event)
    if line is not None:
        print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 - a display is for this
