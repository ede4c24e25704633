"""One run from settings to result, told to whoever listens."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from layerwise import depth as depths
from layerwise import distributed, plots, signals
from layerwise.checkpoint import Journal, NoFolder, Room, RunFolder, SharedJournal
from layerwise.datasets import Dataset
from layerwise.display import display
from layerwise.errors import DiskFullError, InputError
from layerwise.features import Disk, Store, Within
from layerwise.growth import audit
from layerwise.history import History, RunStopReason
from layerwise.progress import (
    Event,
    Listener,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StageStarted,
)
from layerwise.training._facts import run_facts
from layerwise.training._finish import finish
from layerwise.training._loop import grow
from layerwise.training._meter import Meter
from layerwise.training._replica import Replica
from layerwise.training._result import TrainResult
from layerwise.training._search import search_depth
from layerwise.training._settings import Settings
from layerwise.training._together import company, shared

FEATURES = "features"
"""In a run folder, while the run goes on: features that a memory limit does not allow in RAM."""


def run(
    data: Dataset,
    settings: Settings,
    *,
    run_dir: str | Path | RunFolder | None = None,
    verbose: str | int = "auto",
    listeners: Sequence[Listener] = (),
) -> TrainResult:
    """Grow, choose, finish; write the run folder and show progress where asked.

    Args:
        data: with its splits.
        settings: checked.
        run_dir: where the run leaves its files, or None; a `RunFolder` may ask to go on with one.
        verbose: as in `train`.
        listeners: of the user, told after the folder and the display.
    """
    with company():
        return _run(shared(data, settings), settings, run_dir, verbose, listeners)


def _run(
    data: Dataset,
    settings: Settings,
    run_dir: str | Path | RunFolder | None,
    verbose: str | int,
    listeners: Sequence[Listener],
) -> TrainResult:
    peers = distributed.peers()
    folder = _folder(run_dir)
    if peers is not None and not peers.leads:
        # One process writes and speaks; the others do the same work in silence.
        folder, verbose, listeners = NoFolder(), 0, ()
    with signals.as_python_does(), display(verbose) as show, _store(settings, folder) as store:

        def listen(event: Event) -> None:
            if isinstance(event, StageStarted | PhaseStarted):
                signals.check()
            _tell((folder.listen, show, *listeners), event)

        counts = folder.path is not None or settings.baseline == "full"
        replicas = [
            Replica(i, data, settings, store, meter=Meter(settings.engine, counts))
            for i in range(settings.replicates)
        ]
        # The first stage is grown before anything is written: it proves that the arguments fit.
        metrics = replicas[0].prepare()
        monitor = _monitor(settings.monitor, metrics, data)
        history = History(depth_rule=str(settings.depth_rule), monitor=monitor)
        room = Room(replicas[0].stage_bytes, settings.deepest * settings.replicates)
        # Both cost a look at all the data, and are for the folder alone.
        facts, pictures = ({}, {}) if folder.path is None else _shown(data, settings)
        kept = None if data.preparation is None else data.preparation.to_json()
        try:
            with folder.opened(facts, settings.checkpoint_every, room, listen, kept) as own:
                journal = own if peers is None or run_dir is None else SharedJournal(own, peers)
                growth = _Growth(replicas, settings, history, journal, listen)
                listen(_started(settings, monitor, facts, pictures))
                result = _to_the_end(growth, folder, store, (folder.listen, show), listeners)
        except (KeyboardInterrupt, signals.Stopped, DiskFullError) as stop:
            stop.add_note(folder.how_to_resume)
            raise
    result.run_dir = folder.path
    return result


class _Growth(NamedTuple):
    """A run that has been opened: what grows, and who is told."""

    replicas: Sequence[Replica]
    settings: Settings
    history: History
    journal: Journal
    listen: Listener


def _to_the_end(
    growth: _Growth,
    folder: RunFolder | NoFolder,
    store: Store | None,
    own: Sequence[Listener],
    listeners: Sequence[Listener],
) -> TrainResult:
    """Grow and finish; seal the folder before the user's listeners hear of the end."""
    peers = distributed.peers()
    try:
        result = _grow_and_finish(growth)
        if peers is not None:
            peers.finish()
        folder.keep_model(result.model)
        _keep_exits(folder, result)
    except (KeyboardInterrupt, signals.Stopped) as stop:
        return _interrupted(stop, growth)
    history = growth.history
    finished = RunFinished(history.to_dict(), depths.explain(history), result._drawn)
    with signals.deferred():
        _tell(own, finished)
        folder.seal()
        growth.journal.close()
        _forget_features(growth.replicas, store)
    signals.check()
    # What fails or hangs in a listener cannot undo a run that is whole.
    _tell(listeners, finished)
    return result


def _tell(listeners: Sequence[Listener], event: Event) -> None:
    for listener in listeners:
        listener(event)


def _started(
    settings: Settings, monitor: str, facts: dict[str, Any], pictures: dict[str, str]
) -> RunStarted:
    follow = {
        "fine-tuning": settings.fine_tune is not None,
        "baselines": settings.baseline != "none",
    }
    return RunStarted(
        facts,
        monitor,
        settings.deepest,
        settings.replicates,
        pictures,
        tuple(name for name, asked in follow.items() if asked),
    )


def _keep_exits(folder: RunFolder | NoFolder, result: TrainResult) -> None:
    """Keep what predicts at every depth, where the run has that: not all have."""
    if folder.path is None:
        return
    with suppress(InputError):
        folder.keep_exits(result.early_exits())


def _forget_features(replicas: Sequence[Replica], store: Store | None) -> None:
    """An earlier session may have cached features that this one had no use for."""
    if store is not None:
        for replica in replicas:
            replica.view.features.forget()


def _folder(run_dir: str | Path | RunFolder | None) -> RunFolder | NoFolder:
    if isinstance(run_dir, str | Path):
        return RunFolder(Path(run_dir))
    return NoFolder() if run_dir is None else run_dir


def _grow_and_finish(growth: _Growth) -> TrainResult:
    replicas, settings, history, journal, listen = growth
    if settings.search_fraction is not None:
        settings, history.search = search_depth(
            replicas, settings, settings.search_fraction, history.monitor, journal, listen
        )
        for replica in replicas:
            replica.go_by(settings)
    for finished in grow(replicas, settings, history, journal, listen):
        listen(finished)
    result = finish(replicas, settings, history, journal, listen)
    for replica in replicas:
        audit(replica.stages)
    return result


def _interrupted(stop: BaseException, growth: _Growth) -> TrainResult:
    """Keep what was reached; in a notebook hand it back, elsewhere let the interruption go on.

    A script that was interrupted should end, a notebook should have its networks.
    """
    settings, history = growth.settings, growth.history
    growth.journal.flush()
    history.stop_reason = RunStopReason.INTERRUPTED
    growth.listen(RunFinished(history.to_dict(), "The run was interrupted."))
    usable = settings.depth_rule.select(history) if history.stages else None
    leaves = isinstance(stop, signals.Stopped) and stop.leaves
    if usable is None or leaves or not _interactive():
        raise stop
    signals.forget()
    plain = dataclasses.replace(settings, fine_tune=None, baseline="none")
    return finish(growth.replicas, plain, history, Journal(), growth.listen)


def _interactive() -> bool:
    """Whether somebody sits at a prompt: Python's, IPython's or a notebook's."""
    return hasattr(sys, "ps1") or "get_ipython" in vars(sys.modules["builtins"])


@contextmanager
def _store(settings: Settings, folder: RunFolder | NoFolder) -> Iterator[Store | None]:
    """Where features go. What an interrupted run has cached stays for its next session."""
    where, limit = settings.cache_dir, settings.memory_limit
    if where is None and limit is None:
        yield None
        return
    store: Disk | Within
    if limit is None:
        assert where is not None
        store = Disk(where, settings.cache_limit)
    elif where is None and folder.path is not None:
        store = Within(limit, folder.path / FEATURES, settings.cache_limit, own=True)
    else:
        store = Within(limit, where, settings.cache_limit)
    yield store
    store.close()


def _monitor(given: str | None, metrics: Sequence[str], data: Dataset) -> str:
    """The monitored metric as `split.metric`."""
    split = "train" if data.validation is None else "validation"
    if given is None:
        wanted = "loss"
        if data.labels is not None:
            wanted = "mean_squared_error" if data.classes is None else "accuracy"
    else:
        wanted = given.removeprefix(f"{split}.")
    if wanted not in metrics:
        raise InputError(
            f"`monitor` must name a metric that the stages report on {split}: "
            f"{', '.join(metrics)}. Received: {given!r}."
        )
    return f"{split}.{wanted}"


def _shown(data: Dataset, settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts of the run, and pictures: two columns with classes can be shown as they are."""
    facts = run_facts(data, settings)
    if data.classes is None or data.train.shape != (2,) or data.part:
        return facts, {}
    points = {name: (split.x, split.y) for name, split in data.splits.items()}
    return facts, {"The data": plots.scatter(points, [str(label) for label in data.classes])}
