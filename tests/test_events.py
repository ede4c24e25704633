"""What listeners hear of a run, and what `events.jsonl` keeps of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import layerwise
from layerwise import files
from layerwise.checkpoint._events import EventLog
from layerwise.errors import DamagedError, InputTypeError, RunLockedError
from layerwise.progress import (
    EpochsDone,
    Event,
    Noted,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


def arguments(**changes: Any) -> dict[str, Any]:
    how = {
        "block": lambda depth: keras.layers.Dense(4, activation="relu"),
        "epochs": 2,
        "max_depth": 2,
        "depth_rule": layerwise.FixedDepth(),
        "verbose": 0,
    }
    return how | changes


def lines_of(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "events.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


# Listeners.


def test_every_listener_hears_the_whole_run_in_order() -> None:
    first: list[Event] = []
    second: list[Event] = []
    result = layerwise.train(X, Y, **arguments(listeners=[first.append, second.append]))
    assert first == second
    assert kinds(first)[:2] == ["RunStarted", "StageStarted"]
    assert kinds(first)[-1] == "RunFinished"
    starts = [(e.depth, e.replicate) for e in first if isinstance(e, StageStarted)]
    assert starts == [(1, 0), (2, 0)]
    ends = [e.history["stages"][-1] for e in first if isinstance(e, StageFinished)]
    assert ends == result.history.to_dict()["stages"]
    last = first[-1]
    assert isinstance(last, RunFinished)
    assert last.history == result.history.to_dict()
    epochs = [e.epoch for e in first if isinstance(e, EpochsDone)]
    assert epochs.count(2) == 2


def test_listeners_are_no_part_of_the_run(tmp_path: Path) -> None:
    """A resume may have others, and the weights are the same."""
    plain = layerwise.train(X, Y, run_dir=tmp_path / "plain", **arguments())
    heard: list[Event] = []
    told = layerwise.train(
        X, Y, run_dir=tmp_path / "told", **arguments(listeners=heard.append)
    )  # fmt: skip
    texts = [(tmp_path / name / "run.json").read_text() for name in ("plain", "told")]
    assert texts[0] == texts[1]
    for ours, theirs in zip(plain.model.get_weights(), told.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again: list[Event] = []
    layerwise.resume(tmp_path / "told", X, Y, **arguments(listeners=again.append))
    assert [e.restored for e in again if isinstance(e, StageFinished)] == [True, True]


@pytest.mark.parametrize("of", [StageStarted, EpochsDone, StageFinished, RunFinished])
def test_what_a_listener_raises_ends_the_run_and_loses_nothing(tmp_path: Path, of: type) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, of):
            raise ZeroDivisionError("of the tracker")

    run = tmp_path / "run"
    with pytest.raises(ZeroDivisionError, match="of the tracker"):
        layerwise.train(X, Y, run_dir=run, **arguments(listeners=fail))
    sealed = "model.keras" in (run / "SHA256SUMS").read_text()
    assert sealed == (of is RunFinished)
    expected = layerwise.train(X, Y, **arguments())
    result = layerwise.resume(run, X, Y, **arguments())
    for ours, theirs in zip(result.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "wrong",
    [1, "tensorboard", None, [print, 3], [list], keras.callbacks.Callback(),
     [keras.callbacks.History()]],
    ids=["number", "text", "none", "one of two", "class", "callback", "callbacks"],
)  # fmt: skip
def test_what_is_no_listener_is_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(InputTypeError, match="`listeners` must") as caught:
        layerwise.train(X, Y, run_dir=tmp_path / "run", **arguments(listeners=wrong))
    assert "takes an event" in str(caught.value) or "take an event" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_follows_growth_is_told_at_the_start() -> None:
    heard: list[Event] = []
    tune = layerwise.FineTune(epochs=1)
    layerwise.train(
        X, Y, **arguments(listeners=heard.append, fine_tune=tune, baseline="quick", max_depth=1)
    )  # fmt: skip
    started = heard[0]
    assert isinstance(started, RunStarted)
    assert started.phases == ("fine-tuning", "baselines")
    names = [event.name for event in heard if isinstance(event, PhaseStarted)]
    assert names[0] == "fine-tuning"


# The log.


def test_the_log_of_a_run_is_one_object_an_event(tmp_path: Path) -> None:
    heard: list[Event] = []
    result = layerwise.train(
        X, Y, run_dir=tmp_path / "run", **arguments(listeners=heard.append, replicates=2)
    )  # fmt: skip
    lines = lines_of(tmp_path / "run")
    assert len(lines) == len(heard)
    names = [line["event"].replace("_", "") for line in lines]
    assert names == [kind.lower() for kind in kinds(heard)]
    assert {line["session"] for line in lines} == {1}
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert times[0].endswith("+00:00")
    record = result.history.summary()["stages"]
    ends = [line for line in lines if line["event"] == "stage_finished"]
    assert [{k: end[k] for k in record[0]} for end in ends] == record
    where = {(o["depth"], o["replicate"], o["epoch"]) for o in lines if "logs" in o}
    assert {(d, r, 2) for d in (1, 2) for r in (0, 1)} <= where
    assert lines[-1]["selected_depth"] == result.selected_depth
    assert lines[-1]["stop_reason"] == "max_depth"
    assert "events" not in (tmp_path / "run" / "SHA256SUMS").read_text()


class Kill(BaseException):
    """Unwinds as nothing that the library catches."""


def killed_after(folder: Path, count: int, **how: Any) -> None:
    """Begin a run, or go on with it, and end it after so many events."""
    heard = []

    def stop(event: Event) -> None:
        heard.append(event)
        if len(heard) == count:
            raise Kill

    begun = (folder / "run.json").exists()
    start = layerwise.resume if begun else layerwise.train
    where = (folder, X, Y) if begun else (X, Y)
    more = {} if begun else {"run_dir": folder}
    with pytest.raises(Kill):
        start(*where, **more, **arguments(listeners=stop, **how))


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_a_run_that_was_stopped_again_and_again_has_each_stage_once(
    tmp_path: Path, cut: int
) -> None:
    """Also where the last line was torn."""
    run = tmp_path / "run"
    how = {"max_depth": 3, "fine_tune": layerwise.FineTune(epochs=1)}
    for count in (4, 6, 9):
        killed_after(run, count, **how)
        if cut:
            with (run / "events.jsonl").open("r+b") as stream:
                stream.truncate(stream.seek(0, os.SEEK_END) - cut)
    layerwise.resume(run, X, Y, **arguments(**how))
    lines = lines_of(run)
    ends = [line["depth"] for line in lines if line["event"] == "stage_finished"]
    assert ends == [1, 2, 3]
    sessions = [line["session"] for line in lines]
    assert sessions == sorted(sessions)
    assert Counter(line["event"] for line in lines)["run_started"] == len(set(sessions)) == 4
    trained = [
        tuple(line[name] for name in ("session", "depth", "epoch"))
        for line in lines
        if line["event"] == "epochs_done" and "depth" in line
    ]
    assert len(set(trained)) == len(trained)
    starts = [line for line in lines if line["event"] == "stage_started"]
    begun = [(line["session"], line["depth"]) for line in starts]
    assert len(set(begun)) == len(begun)
    assert {(session, depth) for session, depth, _ in trained} <= set(begun)


def test_what_only_comes_from_checkpoints_is_not_told_again(tmp_path: Path) -> None:
    layerwise.train(X, Y, run_dir=tmp_path / "run", **arguments())
    layerwise.resume(tmp_path / "run", X, Y, **arguments())
    again = [line["event"] for line in lines_of(tmp_path / "run") if line["session"] == 2]
    assert again == ["run_started", "run_finished"]


def a_log(folder: Path) -> EventLog:
    log = EventLog(folder)
    with files.RunLock(folder) as lock:
        log.open(lock)
    return log


def test_what_comes_before_the_folder_is_ours_is_kept(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.listen(Noted("early"))
    assert list(tmp_path.iterdir()) == []
    with files.RunLock(tmp_path) as lock:
        log.open(lock)
        log.listen(Noted("late"))
    assert [line["text"] for line in lines_of(tmp_path)] == ["early", "late"]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (b"", []),
        (b'{"event": "noted", "session": 4}\n', [4, 5]),
        (b'{"event": "noted", "session": 4}\n{"event": "no', [4, 5]),
        (b'{"event": "noted", "session": 4}\n' + b"\0" * 50, [4, 5]),
        (b'{"event"', []),
        (b"\0" * (3 << 20), []),
        (b'[]\n3\n{"session": "x"}\n\xff\xfe\n{"session": 2}\n', None),
    ],
    ids=["empty", "whole", "torn", "zeros", "torn first", "endless", "nonsense"],
)
def test_a_torn_line_is_cut_off(tmp_path: Path, found: bytes, kept: list[int] | None) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(found)
    log = a_log(tmp_path)
    log.listen(Noted("new"))
    text = path.read_bytes()
    if kept is None:
        assert text.startswith(found), "what is whole is not touched, also where it says nothing"
        assert json.loads(text.splitlines()[-1])["session"] == 3
    else:
        assert [json.loads(line)["session"] for line in text.splitlines()] == (kept or [1])


def test_a_log_that_leads_elsewhere_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("torn")
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(DamagedError, match=r"events\.jsonl"):
        a_log(tmp_path)
    with pytest.raises(OSError, match="symbolic"):
        files.append_line(tmp_path / "events.jsonl", "more")
    assert (tmp_path / "mine.txt").read_text() == "torn"


def test_who_has_lost_the_folder_writes_no_more(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    with files.RunLock(tmp_path) as lock:
        log.open(lock)
        lock.lost = True
        with pytest.raises(RunLockedError, match="another owner"):
            log.listen(Noted("mine"))
        lock.lost = False
    assert not (tmp_path / "events.jsonl").exists()


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.listen(EpochsDone(1, {"loss": np.float32("nan"), "val_loss": float("inf"), "a": 0.5}))
    (line,) = lines_of(tmp_path)
    assert line["logs"] == {"loss": None, "val_loss": None, "a": 0.5}


KILLED = """
import os, signal, sys
from pathlib import Path
from layerwise import files
from layerwise.checkpoint._events import EventLog
from layerwise.files import _system
from layerwise.progress import Noted
folder = Path(sys.argv[1])
log = EventLog(folder)
def half(path, data):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
with files.RunLock(folder) as lock:
    log.open(lock)
    log.listen(Noted("whole"))
    _system.append = half
    log.listen(Noted("torn"))
"""


def test_a_process_killed_within_a_line_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    assert ended.returncode == -9
    assert not (tmp_path / "events.jsonl").read_bytes().endswith(b"\n")
    a_log(tmp_path).listen(Noted("again"))
    assert [line["text"] for line in lines_of(tmp_path)] == ["whole", "again"]
