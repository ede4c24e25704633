"""Processes of a distributed run killed at random instants: who is left, and what goes on."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from jobs import assert_finished, assert_resumable, result_of

from mesh_job import Runs

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(keras.backend.backend() != "jax", reason="runs on JAX alone"),
]
KILLS, PROCESSES, EPOCHS = 10, 4, 12
LATEST = 30.0
"""Seconds in which those that are left must be gone."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    runs = Runs()
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nobody disturbs, and how long it takes."""
    folder = tmp_path_factory.mktemp("whole")
    run = folder / "run"
    done = runs.run(folder=str(folder), processes=PROCESSES, epochs=EPOCHS, run_dir=str(run))
    assert [end["code"] for end in done["ends"]] == [0] * PROCESSES, done
    assert_finished(run)
    return run, done["seconds"]


def session(runs: Runs, run: Path, processes: int = PROCESSES, **order: Any) -> dict[str, Any]:
    """Begin the run, or go on with it."""
    resume = (run / "run.json").exists()
    folder = str(run.parent)
    return runs.run(
        folder=folder, processes=processes, epochs=EPOCHS, run_dir=str(run), resume=resume, **order
    )


def test_ten_kills_lose_nothing(runs: Runs, whole: tuple[Path, float], tmp_path: Path) -> None:
    """Of one process at a time, process 0 among them; every end is that of a run left alone."""
    expected, seconds = whole
    instants, kills, number = random.Random(3), 0, 0
    while True:
        run = tmp_path / str(number) / "run"
        run.parent.mkdir(exist_ok=True)
        victim, wait = kills % PROCESSES, instants.uniform(0.1, 0.7) * seconds
        done = session(runs, run, **({"kill": [victim, wait]} if kills < KILLS else {}))
        if [end["code"] for end in done["ends"]] == [0] * PROCESSES:
            assert_finished(run)
            assert result_of(run) == result_of(expected)
            if kills >= KILLS:
                return
            number += 1  # It was quicker than the kill.
            continue
        left = [end for n, end in enumerate(done["ends"]) if n != victim]
        named = sum(f"process {victim} is gone" in end["said"] for end in left)
        latest = max(end["late"] for end in left)
        print(f"process {victim} after {wait:.1f} s: {latest:.1f} s, {named} of 3 named it")  # noqa: T201
        assert done["ends"][victim]["code"] == -signal.SIGKILL
        assert latest < LATEST
        assert named
        kills += 1
        if (run / "run.json").exists():
            assert_resumable(run)


@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(
    runs: Runs, whole: tuple[Path, float], tmp_path: Path, before: int, after: int
) -> None:
    """From the last checkpoint; the last bits of sums differ then."""
    expected, _ = whole
    run = tmp_path / "killed" / "run"
    run.parent.mkdir()
    awaited = str(run / "checkpoints" / "current-b")
    victim = before - 1
    done = session(runs, run, before, kill=[victim, 0.2], awaited=awaited)
    assert done["ends"][victim]["code"] == -signal.SIGKILL
    assert_resumable(run)
    done = session(runs, run, after)
    assert [end["code"] for end in done["ends"]] == [0] * after, done
    assert_finished(run)
    ours, theirs = (json.loads((r / "history.json").read_text()) for r in (run, expected))
    for stage, other in zip(ours["stages"], theirs["stages"], strict=True):
        assert stage["validation"]["loss"] == pytest.approx(other["validation"]["loss"], rel=0.05)
    kept = np.load(run.parent / f"weights-{after}-{after}-0.npz")
    whole_weights = np.load(expected.parent / "weights-4-4-0.npz")
    for key in whole_weights:
        difference = np.linalg.norm(kept[key].astype(float) - whole_weights[key])
        assert difference <= 0.05 * np.linalg.norm(whole_weights[key].astype(float)) + 1e-6, key


def test_a_hanging_process_is_noticed(runs: Runs, tmp_path: Path) -> None:
    """Stopped, not killed: its connections stay open, and it says nothing."""
    run = tmp_path / "run"
    order = {"signal": signal.SIGSTOP, "awaited": str(run / "checkpoints" / "current-b")}
    done = session(runs, run, processes=3, kill=[2, 0.1], **order)
    for end in done["ends"][:2]:
        assert end["late"] < LATEST
        assert "process 2 has been silent" in end["said"], end
