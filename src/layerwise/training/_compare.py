"""The honest comparison: the same rows, the same seeds, no growing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras

from layerwise._random import Stream
from layerwise.baselines import Baseline, Rival, modern, rivals, train_baseline
from layerwise.checkpoint import Journal
from layerwise.engine import Problem, Snapshot
from layerwise.history import History
from layerwise.progress import Listener, Noted, PhaseStarted
from layerwise.training._meter import Meter, together
from layerwise.training._network import untrained
from layerwise.training._records import combine_metrics
from layerwise.training._replica import Replica
from layerwise.training._trained import Job, ready, trained
from layerwise.training._whole import whole_problem

_SEEDS = 3
"""Of each network in a full comparison, at least."""


def compare(
    replica: Replica, history: History, journal: Journal, listen: Listener
) -> dict[str, Any]:
    """Train networks that never grew, and score them as the chosen one is scored."""
    settings = replica.settings
    depth = history.selected_depth
    assert depth is not None
    seeds = max(_SEEDS, settings.replicates) if settings.baseline == "full" else 1
    scored = {"validation": replica.data.validation, "test": replica.data.test}
    rows = {name: None if split is None else split.rows for name, split in scored.items()}
    found: dict[str, Any] = {}
    for rival in rivals(settings.baseline, depth):
        opponent = _Opponent(replica, rival, 1 if rival.shallow else depth)
        epochs = opponent.epochs(history, found.get("end_to_end"), journal, listen)
        if epochs is None:
            continue
        runs = []
        for seed in range(seeds):
            name = f"the baseline {rival.name.replace('_', ' ')}"
            listen(PhaseStarted(name + (f", seed {seed + 1}/{seeds}" if seeds > 1 else ""), epochs))
            run = opponent.train(epochs, seed, journal, listen)
            if run is None:
                listen(Noted(f"No {rival.name} baseline: the network has no layer to rebuild."))
                break
            runs.append(run)
        if runs:
            found[rival.name] = _record(rival, runs) | {"rows": rows}
    return found


def growing_spent(history: History, what: str) -> float | None:
    """What all of growing took a replicate: operations, or seconds without compiling.

    Stages beyond the chosen depth are part of it: without them the depth would not be known.
    """
    ledgers = [stage.ledger for stage in history.stages]
    if history.fine_tune is not None:
        ledgers.append(history.fine_tune.get("ledger"))
    total, replicates = 0.0, len(_values(history))
    for ledger in ledgers:
        if ledger is None or (ledger["operations"] is None and what == "operations"):
            return None
        if what == "operations":
            total += ledger["operations"]
        else:
            total += sum(ledger["seconds"].values()) - ledger["seconds"].get("compiling", 0.0)
    return total / replicates


def _values(history: History) -> Sequence[Any]:
    split, _, name = history.monitor.partition(".")
    metric = getattr(history.stages[0], split)[name]
    return metric["values"] if isinstance(metric, Mapping) else [metric]


class _Opponent:
    """A rival of this network.

    Args:
        replica: whose network it is compared with.
        rival: what it is.
        blocks: how many blocks it has.
    """

    def __init__(self, replica: Replica, rival: Rival, blocks: int) -> None:
        self.replica, self.rival, self.blocks = replica, rival, blocks

    def epochs(
        self,
        history: History,
        end_to_end: Mapping[str, Any] | None,
        journal: Journal,
        listen: Listener,
    ) -> int | None:
        """How long it trains; None where that cannot be known.

        Seconds differ from session to session, so what they came to is kept.
        """
        length = self.rival.equal
        if length == "epochs":
            return self._equal_epochs(history)
        name, plan = f"baseline-{self.rival.name}-length", {"equal": length}
        kept = journal.find(name, plan)
        if kept is not None:
            return int(kept.facts["epochs"])
        spent, pace = growing_spent(history, length), _pace(end_to_end, length)
        if spent is None or pace is None:
            listen(Noted(f"No baseline of equal {length}: those of this run were not counted."))
            return None
        epochs = max(1, round(spent / pace))
        journal.keep(name, plan, Snapshot({}, {"epochs": epochs}))
        return epochs

    def _equal_epochs(self, history: History) -> int:
        """Those of all stages kept, and those of a fine-tuning that was kept."""
        epochs = sum(stage.epochs for stage in history.stages[: history.selected_depth])
        tuned = history.fine_tune is not None and history.fine_tune["kept"]
        if tuned and self.replica.settings.fine_tune is not None:
            epochs += self.replica.settings.fine_tune.epochs
        return epochs

    def train(
        self, epochs: int, number: int, journal: Journal, listen: Listener
    ) -> tuple[Baseline, Mapping[str, Any]] | None:
        """One of its seeds, with its ledger; None where there is no such network."""
        replica, engine = self.replica, self.replica.settings.engine
        path = (self.blocks,) if number == 0 else (self.blocks, number)
        problem = self._problem(epochs, replica.seed(Stream.BASELINE, *path), number)
        if problem is None:
            return None
        job = Job(
            name=f"baseline-{self.rival.name}" + (f"-{number}" if number else ""),
            plan={"blocks": self.blocks, "epochs": epochs, "replicate": replica.index},
            below="",
            layers={"model": problem.model},
            problem=ready(problem),
        )
        meter = Meter(engine, replica.meter.counts)
        meter.start()
        how = partial(trained, job, engine, journal, listen, meter)
        return train_baseline(engine, problem, replica.data.test, how), meter.read()

    def _problem(self, epochs: int, seed: int, number: int) -> Problem | None:
        """Its network with fresh weights, and what that is trained with."""
        model = untrained(self.replica, self.blocks, seed)
        optimizer = self.replica.settings.optimizer(self.blocks)
        if self.rival.frozen:
            for layer in model.layers[:-1]:
                layer.trainable = False
        if self.rival.modern:
            rebuilt, optimizer = modern(model, seed), keras.optimizers.AdamW(1e-3)
            if rebuilt is None:
                return None
            model = rebuilt
        return whole_problem(self.replica, model, self.blocks, epochs, optimizer, number=number)


def _pace(end_to_end: Mapping[str, Any] | None, length: str) -> float | None:
    """What an epoch of the network takes when it is trained end to end."""
    if end_to_end is None or end_to_end["ledger"][length] is None:
        return None
    spent = end_to_end["ledger"][length]
    if length == "seconds":
        spent = spent["training"]
    return float(spent) / end_to_end["epochs"] if spent else None


def _record(rival: Rival, runs: Sequence[tuple[Baseline, Mapping[str, Any]]]) -> dict[str, Any]:
    """What the history says of a rival; time and operations are those of one seed."""
    baselines, whole = [baseline for baseline, _ in runs], together([meter for _, meter in runs])
    count = len(runs)
    each = {name: spent / count for name, spent in whole["seconds"].items()}
    operations = whole["operations"]
    return {
        "about": rival.about,
        "validation": combine_metrics([one.validation for one in baselines]),
        "test": combine_metrics([one.test for one in baselines]),
        "seconds": sum(one.seconds for one in baselines) / count,
        "parameters": baselines[0].parameters,
        "epochs": baselines[0].epochs,
        "ledger": {
            **whole,
            "seconds": each,
            "operations": None if operations is None else operations / count,
        },
    }
