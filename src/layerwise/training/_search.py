"""Choosing the depth on a part of the training rows, before the network grows on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from layerwise.checkpoint import Journal
from layerwise.datasets import sampled
from layerwise.depth import FixedDepth
from layerwise.errors import DivergedError
from layerwise.history import History
from layerwise.progress import Event, Listener, PhaseStarted, StageFinished
from layerwise.training._loop import grow
from layerwise.training._replica import Replica
from layerwise.training._settings import Settings


def search_depth(
    replicas: Sequence[Replica],
    settings: Settings,
    fraction: float,
    monitor: str,
    journal: Journal,
    listen: Listener,
) -> tuple[Settings, dict[str, Any]]:
    """Grow on a part of the rows and ask the depth rule.

    Args:
        replicas: that will grow on all rows; nothing of theirs is touched.
        settings: of the run.
        fraction: of the training rows, stratified by class.
        monitor: what the depth rule looks at.
        journal: of the run.
        listen: told of progress, not of stages: those of the search are no stages of the run.

    Returns:
        Settings that grow the chosen depth, and `search` of the history.

    Raises:
        DivergedError: no stage was usable.
    """
    part = sampled(replicas[0].data, fraction, settings.seed)
    listen(PhaseStarted(f"searching the depth on {part.train.rows:,} rows", 0))

    def quietly(event: Event) -> None:
        if not isinstance(event, StageFinished):
            listen(event)

    found = History(depth_rule=str(settings.depth_rule), monitor=monitor)
    searching = [replica.on(part, "search-") for replica in replicas]
    for _ in grow(searching, settings, found, journal, quietly):
        pass
    for replica in searching:
        replica.view.features.forget()
    depth = settings.depth_rule.select(found)
    if depth is None:
        raise DivergedError(
            f"Every stage of the search diverged: in stage 1 {found.stages[0].message}. Lower the "
            "learning rate, or leave out `search_fraction`."
        )
    assert found.stop_reason is not None
    record = {
        "fraction": fraction,
        "rows": part.train.rows,
        "selected_depth": depth,
        "stop_reason": str(found.stop_reason),
        "seconds": sum(stage.seconds for stage in found.stages),
        "validation": [stage.validation for stage in found.stages],
    }
    return replace(settings, max_depth=depth, depth_rule=FixedDepth(keep="last")), record
