"""`history.json` of a run that goes on: how often it is written, and when in any case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from layerwise import files
from layerwise.checkpoint import _pace
from layerwise.checkpoint._history_file import HistoryFile
from layerwise.errors import RunLockedError
from layerwise.progress import EpochsDone, RunFinished, StageFinished, StageStarted


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


class HeldLock:
    """As much of a `RunLock` as a file asks."""

    lost = False

    def refuse_where_lost(self) -> None:
        if self.lost:
            raise RunLockedError("another owner")


@pytest.fixture
def history_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A history file, its lock, a clock, how long writing took in all, and what stands in it."""
    clock, cost, lock = Clock(), [0.0], HeldLock()
    monkeypatch.setattr(_pace, "time", clock)
    write = files.write_json

    def slow(path: Path, value: Any) -> str:
        took = 1e-4 * len(value["stages"])
        clock.now, cost[0] = clock.now + took, cost[0] + took
        return write(path, value)

    monkeypatch.setattr(files, "write_json", slow)
    file = HistoryFile(tmp_path)
    file.open(lock)  # type: ignore[arg-type]

    def shown() -> int:
        return len(json.loads((tmp_path / "history.json").read_text())["stages"])

    return file, lock, clock, cost, shown


def told(depth: int, *, restored: bool = False) -> StageFinished:
    return StageFinished({"stages": [{"depth": n + 1} for n in range(depth)]}, restored)


def test_a_long_history_takes_a_small_share_of_the_time(history_file: Any) -> None:
    """Of a thousand stages each is told before long, and none waits for the next to end."""
    file, _, clock, cost, shown = history_file
    for depth in range(1, 1001):
        clock.now += 0.04
        file.listen(told(depth))
        assert depth > 1 or shown() == 1
    assert 0 < cost[0] < 0.03 * (clock.now - 1000)
    assert 700 < shown() < 1000
    clock.now += 10
    file.listen(EpochsDone(1, {}))
    assert shown() == 1000
    file.listen(RunFinished(told(1001).history, ""))
    assert shown() == 1001


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_that_ends_by_an_error_leaves_its_whole_history(
    history_file: Any, lost: bool
) -> None:
    """Unless the folder has another owner by then, whose file it would spoil."""
    file, lock, clock, _, shown = history_file
    file.listen(told(10))
    file.listen(told(11))
    assert shown() == 10
    lock.lost = lost
    if lost:
        clock.now += 10
        with pytest.raises(RunLockedError):
            file.listen(EpochsDone(1, {}))
    file.close()
    assert shown() == (10 if lost else 11)


def test_a_resume_does_not_write_what_it_takes_from_checkpoints(history_file: Any) -> None:
    """The file of five stages does not shrink to one on the way."""
    file, _, clock, _, shown = history_file
    file.listen(told(5))
    for depth in range(1, 6):
        clock.now += 10
        file.listen(StageStarted(depth, 0, 1))
        file.listen(told(depth, restored=True))
        assert shown() == 5
    clock.now += 10
    file.listen(told(6))
    assert shown() == 6


def test_one_slow_writing_does_not_keep_the_history_back_for_long(history_file: Any) -> None:
    """A disk that was away for an hour costs a minute, once."""
    file, _, clock, _, shown = history_file
    with pytest.MonkeyPatch.context() as patch:
        write = files.write_json

        def away(path: Path, value: Any) -> str:
            clock.now += 3600
            return write(path, value)

        patch.setattr(files, "write_json", away)
        file.listen(told(1))
    for depth, wait, expected in [(2, 59, 1), (3, 2, 3), (4, 1, 4)]:
        clock.now += wait
        file.listen(told(depth))
        assert shown() == expected
