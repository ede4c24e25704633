"""The honest comparison: the same rows, the same epochs, no growing."""

from __future__ import annotations

from functools import partial
from typing import Any

from layerwise._random import Stream
from layerwise.baselines import Baseline, train_baseline
from layerwise.checkpoint import Journal
from layerwise.history import History
from layerwise.progress import Listener, PhaseStarted
from layerwise.training._replica import Replica
from layerwise.training._result import untrained
from layerwise.training._trained import Job, ready, trained
from layerwise.training._whole import whole_problem


def compare(
    replica: Replica, history: History, journal: Journal, listen: Listener
) -> dict[str, Any]:
    """Train the chosen network from scratch end to end, and a shallow one, for as many epochs.

    The epochs of both are those of all stages kept, plus those of a fine-tuning that was kept.
    """
    depth = history.selected_depth
    assert depth is not None
    epochs = sum(stage.epochs for stage in history.stages[:depth])
    tuned = history.fine_tune is not None and history.fine_tune["kept"]
    if tuned and replica.settings.fine_tune is not None:
        epochs += replica.settings.fine_tune.epochs
    found: dict[str, Any] = {}
    for name, blocks in (("end_to_end", depth), ("shallow", 1)):
        if name == "shallow" and depth == 1:
            continue
        listen(PhaseStarted(f"the baseline {name.replace('_', ' ')}", epochs))
        model = untrained(replica, blocks, replica.seed(Stream.BASELINE, blocks))
        settings = replica.settings
        problem = whole_problem(replica, model, blocks, epochs, settings.optimizer(blocks))
        job = Job(
            name=f"baseline-{name}",
            plan={"blocks": blocks, "epochs": epochs, "replicate": replica.index},
            below="",
            layers={"model": model},
            problem=ready(problem),
        )
        baseline: Baseline = train_baseline(
            settings.engine,
            problem,
            replica.data.test,
            partial(trained, job, settings.engine, journal, listen),
        )
        found[name] = {
            "validation": baseline.validation,
            "test": baseline.test,
            "seconds": baseline.seconds,
            "parameters": baseline.parameters,
            "epochs": epochs,
        }
    return found
