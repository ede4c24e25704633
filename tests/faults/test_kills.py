"""Runs that are killed or told to stop at any instant, and go on to the result they would have had.

Real processes, killed for real; the instants are random, from a fixed seed.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from jobs import (
    ARTEFACTS,
    PHASES,
    Ended,
    Order,
    Server,
    assert_finished,
    assert_resumable,
    is_done,
    leftovers,
    result_of,
    vouched_for,
)

KILL, INT, TERM = int(signal.SIGKILL), int(signal.SIGINT), int(signal.SIGTERM)
STOP_SECONDS = 5.0
STEP_SECONDS = 5.0
"""Far above a step of these jobs: compiling is the longest that nothing can interrupt."""
DIGITS = ("run", "digits", "--epochs", "8", "--max-depth", "2", "--checkpoint-every", "0.1")
KEPT = Path(os.environ["LAYERWISE_CACHE"]).with_name("xla-jobs")
"""Compiled programs, from one session of tests to the next; what is killed gets a copy."""


@dataclass
class Jobs:
    """The server, and what each job gives when nobody disturbs it."""

    server: Server
    folder: Path
    compiled: Path
    known: dict[str, tuple[Any, Ended]] = field(default_factory=dict)

    def undisturbed(self, job: str) -> tuple[Any, Ended]:
        """The result of a job, and how its process ended."""
        if job not in self.known:
            kept = KEPT / job
            if not kept.exists():
                # The second time takes as long as all those that follow.
                self._run_to_the_end(job, f"first-{job}", kept)
                kept.mkdir(parents=True, exist_ok=True)  # Keras' own loop keeps no programs.
            self.known[job] = self._run_to_the_end(job, f"undisturbed-{job}", kept)
            shutil.copytree(kept, self.compiled, dirs_exist_ok=True)
        return self.known[job]

    def _run_to_the_end(self, job: str, name: str, compiled: Path) -> tuple[Any, Ended]:
        run = self.folder / name
        ended = self.server.run(self.order(job, run, compiled=str(compiled)))
        assert ended.code == 0, ended.said
        assert_finished(run)
        return result_of(run), ended

    def order(self, job: str, run: Path, **more: Any) -> Order:
        given = {"compiled": str(self.compiled), **more}
        return Order(job=job, folder=str(run), log=f"{run}.log", **given)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    folder = tmp_path_factory.mktemp("jobs")
    for known in KEPT.glob("*/"):
        shutil.copytree(known, folder / "compiled", dirs_exist_ok=True)
    server = Server()
    yield Jobs(server, folder, folder / "compiled")
    server.close()


@dataclass
class Tally:
    """What a campaign has seen."""

    events: int = 0
    lost: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)

    def by_phase(self) -> str:
        return ", ".join(f"{phase} {self.phases[phase]}" for phase in PHASES)

    def check(self, run: Path) -> None:
        """Look at a run that has not ended by itself."""
        try:
            if (run / "run.json").exists():
                assert_resumable(run)
        except (AssertionError, OSError) as error:
            self.lost.append(f"{run.name}: {error!r}")

    def assert_nothing_wrong(self) -> None:
        assert not self.lost, "\n".join(self.lost)
        assert not self.different, "\n".join(self.different)


# Killed.


KINDS = ("at any instant", "in a training", "at any instant", "at any call")


def random_kill(jobs: Jobs, job: str, run: Path, rng: random.Random, kind: str) -> Order:
    """At any instant of an undisturbed run, or before, within or after any call that changes the
    disk, or when a training in progress is written down."""
    _, ended = jobs.undisturbed(job)
    if kind == "at any instant":
        return jobs.order(job, run, seconds=rng.uniform(0, ended.seconds))
    if kind == "at any call":
        where = rng.choice(["before", "within", "after"])
        return jobs.order(job, run, calls=rng.randint(1, ended.calls), where=where)
    name, where = rng.choice(["current-a", "current-b"]), rng.choice(["before", "after"])
    return jobs.order(job, run, calls=rng.randint(1, 6), named=name, where=where)


def kill_until_it_ends(
    jobs: Jobs, job: str, run: Path, order: Callable[[int], Order], tally: Tally
) -> None:
    """Kill a run and go on with it, until it ends undisturbed; compare.

    `order` says how to kill it the first time, the second and so on, and in the end not to.
    """
    expected, _ = jobs.undisturbed(job)
    kills = 0
    while (ended := jobs.server.run(ordered := order(kills))).code == -KILL:
        kills += 1
        tally.events += 1
        tally.phases[ended.phase] += 1
        tally.check(run)
    what = f"{run.name}, {kills} kills, last {ordered}, ended {ended}"
    if ended.code != 0 or "trained again" in ended.said or "damaged" in ended.said:
        tally.lost.append(what)
        return
    assert_finished(run)
    if result_of(run) != expected:
        tally.different.append(what)
    tally.notes["torn compiled programs"] += "persistent compilation cache" in ended.said
    tally.notes["features left behind"] += any(run.with_name(f"{run.name}-features").glob("*"))


def kill_campaign(
    jobs: Jobs,
    folder: Path,
    kills: int,
    choose: Callable[[int], str],
    again: Callable[[random.Random, int], bool],
) -> Tally:
    """Kill runs, every second one at random instants, the others at random calls.

    A run that ends before it is killed does not count.

    Args:
        jobs: what to run.
        folder: where.
        kills: how many in all.
        choose: the job of a trial by its number.
        again: whether to kill a run once more that was killed so often.
    """
    tally, rng = Tally(), random.Random(20240611)

    def orders(trial: int, job: str, run: Path) -> Callable[[int], Order]:
        # Now and then a process has everything to compile.
        compiled = "" if trial % 10 == 7 else str(jobs.compiled)
        kind = KINDS[trial % len(KINDS)]

        def order(killed: int) -> Order:
            more = tally.events < kills and (killed == 0 or again(rng, killed))
            kill = random_kill(jobs, job, run, rng, kind) if more else jobs.order(job, run)
            return replace(kill, compiled=compiled)

        return order

    for trial in itertools.count():
        if tally.events >= kills:
            break
        run, job = folder / f"run-{trial}", choose(trial)
        kill_until_it_ends(jobs, job, run, orders(trial, job, run), tally)
    return tally


@pytest.mark.parametrize("job", ["small", pytest.param("table", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_result(jobs: Jobs, tmp_path: Path, job: str) -> None:
    """The quick form, each kind of kill."""
    tally = kill_campaign(jobs, tmp_path, 6, lambda _: job, lambda _, done: done < 3)
    tally.assert_nothing_wrong()


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_run_that_is_killed_at_its_preparation_goes_on(
    jobs: Jobs, tmp_path: Path, where: str
) -> None:
    """It is written right after `run.json`: the next session makes it again."""
    tally, run = Tally(), tmp_path / "run"
    kill = jobs.order("table", run, calls=1, named="preparation.json", where=where)
    orders = [kill, jobs.order("table", run)]
    kill_until_it_ends(jobs, "table", run, lambda kills: orders[kills], tally)
    assert tally.events == 1
    tally.assert_nothing_wrong()


@pytest.mark.faults
def test_two_hundred_kills_lose_nothing(jobs: Jobs, tmp_path: Path) -> None:
    def choose(trial: int) -> str:
        if trial % 17 == 16:
            return "fit"
        return ("supervised", "reconstruction", "table")[trial // len(KINDS) % 3]

    tally = kill_campaign(jobs, tmp_path, 200, choose, lambda rng, _: rng.random() < 0.5)
    result = f"{len(tally.lost)} lost, {len(tally.different)} different"
    print(f"FAULTS | kill -9 | {tally.events} | {result}; {tally.by_phase()}")  # noqa: T201
    print(f"notes: {dict(tally.notes)}")  # noqa: T201
    tally.assert_nothing_wrong()


@pytest.mark.faults
@pytest.mark.xfail(
    strict=True,
    reason="JAX writes its cache of compiled programs in place, and keeps what it cannot read.",
)
def test_a_kill_while_a_program_is_written_down_is_mended(jobs: Jobs, tmp_path: Path) -> None:
    """The torn program is compiled again, without a word, and then kept."""
    run, compiled = tmp_path / "run", str(tmp_path / "compiled")
    ended = jobs.server.run(jobs.order("small", run, compiled=compiled, setting="torn"))
    assert ended.code == -KILL
    ended = jobs.server.run(jobs.order("small", run, compiled=compiled))
    assert ended.code == 0
    assert_finished(run)
    assert result_of(run) == jobs.undisturbed("small")[0]
    assert "persistent compilation cache" not in ended.said


# Told to stop.


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """A shell that starts the tests in the background has all their children ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def command_line(jobs: Jobs, *arguments: str | Path) -> subprocess.Popen[str]:
    """`layerwise` as a person starts it."""
    command = [str(Path(sys.executable).with_name("layerwise")), *map(str, arguments)]
    environment = {**os.environ, "LAYERWISE_CACHE": str(jobs.compiled)}
    with hearing_ctrl_c():
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )


def end_of(process: subprocess.Popen[str], seconds: float | None = None, number: int = 0) -> Ended:
    """Wait for the end of a command; send the signal after so many seconds, if it lives then."""
    start, sent = time.monotonic(), None
    try:
        if seconds is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            if process.poll() is None:
                sent = time.monotonic()
                process.send_signal(number)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
        process.wait()
    now = time.monotonic()
    late = None if sent is None else now - sent
    return Ended(process.returncode, now - start, late, "", 0, said)


def last_line(ended: Ended) -> str:
    return (ended.said.splitlines() or [""])[-1]


def complaints(run: Path, number: int, ended: Ended, *, command: bool) -> list[str]:
    """What is wrong with a run that was told to stop, in words.

    Python itself ends by the signal, which a shell shows as 128 and its number: so does a script
    that does not catch KeyboardInterrupt, and so do all before the run has begun to listen.
    """
    if is_done(run):
        return []  # The signal came when there was nothing left to stop.
    began = (run / "run.json").exists()
    by_python = {-INT: 130, -TERM: 143}.get(ended.code) if not (command and began) else None
    told = "layerwise resume" if command else "layerwise.resume("
    last = last_line(ended)
    says = command or number == INT  # Python says nothing of a SystemExit.
    wrong = {
        f"exit code {ended.code}": (by_python or ended.code) != 128 + number,
        f"{ended.late} s to stop": (ended.late or 0) > STOP_SECONDS + STEP_SECONDS,
        f"left {run.exists() and leftovers(run)}": began and bool(leftovers(run)),
        "a traceback": command and began and "Traceback" in ended.said,
        f"says {last!r}": began and says and not (told in last and last.endswith("from here.")),
    }
    return [text for text, is_so in wrong.items() if is_so]


class Stops:
    """Two kinds of runs that are told to stop: the command line, and Python.

    Args:
        jobs: what to run.
        folder: where.
        rng: of the instants.
    """

    def __init__(self, jobs: Jobs, folder: Path, rng: random.Random) -> None:
        self.jobs, self.folder, self.rng = jobs, folder, rng
        self.tally = Tally()
        self._digits: tuple[Any, float] | None = None

    def digits(self) -> tuple[Any, float]:
        """The result of the command when nobody disturbs it, and its seconds."""
        if self._digits is None:
            for name in ("first-digits", "undisturbed-digits"):
                run = self.folder / name
                ended = end_of(command_line(self.jobs, *DIGITS, "--out", run))
                assert ended.code == 0, ended.said
            self._digits = result_of(run), ended.seconds
        return self._digits

    def of_command(self, run: Path, number: int, *, compare: bool) -> bool:
        """Stop the command line at any instant; whether it was still there."""
        expected, seconds = self.digits()
        process = command_line(self.jobs, *DIGITS, "--out", run)
        ended = end_of(process, self.rng.uniform(0, seconds), number)
        if not self._judge(run, number, ended, command=True):
            return False
        if compare and (run / "run.json").exists():
            again = end_of(command_line(self.jobs, "resume", run))
            self._compare(run, expected, again)
        return True

    def of_python(self, job: str, run: Path, number: int, *, compare: bool, calls: int = 0) -> bool:
        """The same for a job in Python, or at one of the first calls that change the disk."""
        expected, undisturbed = self.jobs.undisturbed(job)
        when: dict[str, Any] = {"seconds": self.rng.uniform(0, undisturbed.seconds)}
        if calls:
            when = {"calls": self.rng.randint(1, calls)}
            when["where"] = self.rng.choice(["before", "after"])
        ended = self.jobs.server.run(self.jobs.order(job, run, signals=(number,), **when))
        if not self._judge(run, number, ended, command=False):
            return False
        if compare and (run / "run.json").exists():
            self._compare(run, expected, self.jobs.server.run(self.jobs.order(job, run)))
        return True

    def _judge(self, run: Path, number: int, ended: Ended, *, command: bool) -> bool:
        """Whether the signal came in time; if so, what is wrong is told."""
        tally = self.tally
        if ended.code == 0:
            return False
        tally.events += 1
        tally.slowest = max(tally.slowest, ended.late or 0)
        tally.phases[ended.phase] += 1
        tally.check(run)
        if wrong := complaints(run, number, ended, command=command):
            tally.lost.append(f"{run.name}: {wrong}, {ended}")
        if not (run / "run.json").exists():
            tally.notes[f"before run.json, {'command' if command else 'python'} {ended.code}"] += 1
        return True

    def _compare(self, run: Path, expected: Any, ended: Ended) -> None:
        self.tally.notes["resumed to the end"] += 1
        if ended.code != 0:
            self.tally.lost.append(f"{run.name}: {ended}")
            return
        assert_finished(run)
        if result_of(run) != expected:
            self.tally.different.append(run.name)


def test_a_run_that_is_told_to_stop_goes_on_to_the_same_result(jobs: Jobs, tmp_path: Path) -> None:
    """The quick form for Python, at calls that come on the slowest machine as on the fastest."""
    stops, run = Stops(jobs, tmp_path, random.Random(5)), tmp_path / "run"
    half = jobs.undisturbed("small")[1].calls // 2
    stops.of_python("small", run, INT, compare=False, calls=half)
    stops.of_python("small", run, TERM, compare=True, calls=10)
    assert stops.tally.events == 2
    assert stops.tally.notes["resumed to the end"] == 1
    stops.tally.assert_nothing_wrong()


@pytest.mark.parametrize("number", [INT, pytest.param(TERM, marks=pytest.mark.slow)])
def test_the_command_line_stops_when_told_to(jobs: Jobs, tmp_path: Path, number: int) -> None:
    """The quick form for the command line: a run that would take hours."""
    run = tmp_path / "run"
    process = command_line(jobs, "run", "digits", "--epochs", "1000000", "--out", run)
    try:
        while not (run / "run.json").exists() and process.poll() is None:
            time.sleep(0.01)
    finally:
        ended = end_of(process, random.Random(number).uniform(0, 3), number)
    assert complaints(run, number, ended, command=True) == []
    assert_resumable(run)
    assert last_line(ended).startswith(f"Stopped by {signal.Signals(number).name}.")


@pytest.mark.faults
def test_a_hundred_signals_leave_resumable_runs(jobs: Jobs, tmp_path: Path) -> None:
    stops, trial = Stops(jobs, tmp_path, random.Random(20240612)), 0
    for number in (INT, TERM):
        for kind in ("command", "python"):
            done = 0
            while done < 25:
                run, compare = tmp_path / f"run-{trial}", done % 5 == 0
                trial += 1
                if kind == "command":
                    done += stops.of_command(run, number, compare=compare)
                else:
                    calls = 0 if done % 2 == 0 else jobs.undisturbed("supervised")[1].calls
                    done += stops.of_python("supervised", run, number, compare=compare, calls=calls)
    tally = stops.tally
    good = tally.events - len(tally.lost)
    print(f"FAULTS | SIGINT and SIGTERM | {tally.events} | {good} resumable, ", end="")  # noqa: T201
    print(f"{len(tally.different)} different, at most {tally.slowest:.1f} s to stop")  # noqa: T201
    print(f"notes: {dict(tally.notes)}; {tally.by_phase()}")  # noqa: T201
    tally.assert_nothing_wrong()


def test_a_second_ctrl_c_leaves_at_once(jobs: Jobs, tmp_path: Path) -> None:
    """The first waits for a call into a program that never comes back."""
    run = tmp_path / "run"
    ended = jobs.server.run(
        jobs.order(
            "endless", run, awaited="run.json", seconds=1, signals=(INT, INT), setting="stuck"
        )
    )
    assert ended.code == 130
    assert ended.late is not None
    assert 0.5 <= ended.late < 2
    assert_resumable(run)


def test_ctrl_c_at_a_prompt_hands_back_what_was_reached(jobs: Jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = jobs.server.run(
        jobs.order(
            "endless", run, awaited="history.json", seconds=1, signals=(INT,), setting="prompt"
        )
    )
    assert ended.code == 0, ended.said
    assert json.loads(last_line(ended)) == ["interrupted", [3, 3]]
    assert leftovers(run) == []
    assert_resumable(run)
    assert json.loads((run / "history.json").read_text())["stop_reason"] == "interrupted"


def test_sigterm_ends_the_process_at_a_prompt_too(jobs: Jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more: dict[str, Any] = {"awaited": "history.json", "seconds": 0.5, "setting": "prompt"}
    ended = jobs.server.run(jobs.order("endless", run, signals=(TERM,), **more))
    assert ended.code == 143
    assert complaints(run, TERM, ended, command=False) == []


@pytest.mark.faults
def test_a_run_that_is_stopped_as_it_begins_says_how_to_go_on(jobs: Jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    order = jobs.order("small", run, signals=(INT,), calls=1, named="run.json", where="after")
    ended = jobs.server.run(order)
    assert (run / "run.json").exists()
    assert complaints(run, INT, ended, command=False) == []


@pytest.mark.faults
def test_a_run_that_is_stopped_when_it_is_done_stays_done(jobs: Jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    order = jobs.order("small", run, signals=(INT,), calls=2, named="SHA256SUMS", where="after")
    jobs.server.run(order)
    names = {line.split()[1] for line in (run / "SHA256SUMS").read_text().splitlines()}
    assert names == ARTEFACTS
    assert vouched_for(run) == names


@pytest.mark.faults
def test_a_script_that_sigterm_stops_says_how_to_go_on(jobs: Jobs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ended = jobs.server.run(
        jobs.order("endless", run, awaited="history.json", seconds=0.5, signals=(TERM,))
    )
    assert ended.code == 143
    assert last_line(ended).endswith("goes on from here.")


IN_A_FINALIZER = """
import os, signal, time
from layerwise import signals

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

with signals.stop_on_signals():
    try:
        Dying()
        time.sleep(60)
    except signals.Stopped as stop:
        print(stop)
"""

IN_A_COLLECTION = """
import gc, os, signal, time
from layerwise import signals

def hear(phase, info):
    os.kill(os.getpid(), signal.SIGINT)
    gc.callbacks.clear()

with signals.stop_on_signals():
    try:
        gc.callbacks.append(hear)
        gc.collect()
        time.sleep(60)
    except signals.Stopped as stop:
        print(stop)
"""

IN_AN_IMPORT = """
import os, pathlib, signal, sys, time
from layerwise import signals

pathlib.Path("slow.py").write_text(
    "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(0.3); done = True"
)
sys.path.insert(0, ".")
with signals.stop_on_signals():
    try:
        import slow
        time.sleep(60)
    except signals.Stopped as stop:
        print(stop)
assert sys.modules["slow"].done
"""


@pytest.mark.parametrize(
    ("script", "name"),
    [(IN_A_FINALIZER, "SIGTERM"), (IN_A_COLLECTION, "SIGINT"), (IN_AN_IMPORT, "SIGINT")],
    ids=["finalizer", "collection", "import"],
)
def test_where_python_would_drop_it_a_signal_waits_a_moment(script: str, name: str) -> None:
    """No traceback on the screen, and none that aborts a process while it imports."""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert ended.stdout == f"{name}\n"
    assert ended.stderr == ""
