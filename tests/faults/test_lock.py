"""One owner for a run folder: real processes, and locks as other machines would leave them."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from layerwise import files
from layerwise.errors import DiskFullError, InputError, RunLockedError
from layerwise.files import RunLock, _lock, _owner, _system

HOLDER = """
import sys
from pathlib import Path
from layerwise.files import RunLock

with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

RACER = """
import os, random, sys, time
from pathlib import Path
from layerwise.errors import RunLockedError
from layerwise.files import RunLock, _system

folder, rounds, hard_links = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4] == "links"
log = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
witness = folder.parent / "witness"

if not hard_links:
    def link_new(source, target):
        raise PermissionError(1, "Operation not permitted")
    _system.link_new = link_new

def note(text):
    os.write(log, f"{text}\\n".encode())

def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] not in "ZX"
    except OSError:
        return False

def alone():
    # A link is made as exclusively as a folder is, and says who made it: only what a killed
    # process left may be taken away.
    try:
        os.symlink(str(os.getpid()), witness)
    except FileExistsError:
        try:
            if lives(os.readlink(witness)):
                return False
            os.unlink(witness)
            os.symlink(str(os.getpid()), witness)
        except (FileExistsError, FileNotFoundError):
            return False
    return True

note("ready")
while not (folder.parent / "go").exists():
    time.sleep(0.001)
for _ in range(rounds):
    lock, refused, end = RunLock(folder), 0, time.monotonic() + 60
    while True:
        try:
            lock.acquire()
            break
        except RunLockedError:
            refused += 1
            if time.monotonic() > end:
                note("starved")
                sys.exit(3)
            time.sleep(random.uniform(0, 0.004))
    inside = alone()
    time.sleep(0.001)
    if inside and os.readlink(witness) != str(os.getpid()):
        inside = False
    if inside:
        os.unlink(witness)
    note(f"{'acquired' if inside else 'violation'} {refused}")
    lock.release()
"""

CRASHER = """
import json, os, signal, sys, time
from pathlib import Path
from layerwise.files import RunLock, _system

folder, left = Path(sys.argv[1]), []

def counted(function):
    def call(*arguments):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

for calls in range(100):
    child = os.fork()
    if child == 0:
        left[:] = [calls]
        for name in ("write_new", "link_new", "touch", "remove"):
            setattr(_system, name, counted(getattr(_system, name)))
        lock = RunLock(folder)
        lock.acquire()
        lock.release()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    locks = sorted(name for name in os.listdir(folder) if name.startswith("lock-"))
    start = time.monotonic()
    lock = RunLock(folder)
    lock.acquire()
    print(json.dumps([os.WIFSIGNALED(status), locks, time.monotonic() - start]))
    if status == 0:
        lock.release()
        break
    # The next child is to take over a dead lock: ours, under another birth.
    (path,) = folder.glob("lock-*")
    content = json.loads(path.read_text())
    lock.release()
    path.write_text(json.dumps({**content, "born": 1}))
"""

FORKER = """
import os, sys
from pathlib import Path
from layerwise.errors import RunLockedError
from layerwise.files import RunLock

folder = Path(sys.argv[1])
with RunLock(folder) as lock:
    child = os.fork()
    if child == 0:
        lock.release()
        try:
            lock.acquire()
        except RunLockedError as error:
            os._exit(7 if f"process {os.getppid()} " in str(error) else 8)
        os._exit(9)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(folder.iterdir())))
print(len(list(folder.iterdir())))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)


def finished(script: str, *arguments: object) -> str:
    with started(script, *arguments) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with started(HOLDER, folder) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def forge(folder: Path, silent: float, content: str | None = None, **changes: object) -> Path:
    """A lock as this process would write it, but for the changes, last touched a while ago."""
    path = folder / "lock-000004"
    owner = {**asdict(_owner.this_process()), **changes}
    path.write_text(json.dumps(owner) if content is None else content)
    touched = time.time() - silent
    os.utime(path, (touched, touched))
    return path


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- who is the owner


def test_the_second_process_is_told_at_once_who_the_owner_is(folder: Path) -> None:
    with held_elsewhere(folder) as owner:
        start = time.monotonic()
        with pytest.raises(RunLockedError) as caught:
            RunLock(folder).acquire()
        assert time.monotonic() - start < 1
        (content,) = [json.loads(path.read_text()) for path in folder.iterdir()]
    assert f"process {owner.pid} on {os.uname().nodename}" in str(caught.value)
    assert f"since {content['started']}. Wait until" in str(caught.value)
    assert str(folder / "lock-000001") in str(caught.value)


def test_a_killed_owner_is_replaced_at_once(folder: Path) -> None:
    with held_elsewhere(folder) as owner:
        owner.kill()
        # It stays a zombie: it has ended, and nobody has asked how.
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
        start = time.monotonic()
        with RunLock(folder):
            assert time.monotonic() - start < 1
            assert names_in(folder) == ["lock-000002"]
    assert names_in(folder) == []


def test_a_suspended_owner_on_this_machine_keeps_the_folder(folder: Path) -> None:
    with held_elsewhere(folder) as owner:
        owner.send_signal(signal.SIGSTOP)
        os.utime(folder / "lock-000001", (1, 1))
        with pytest.raises(RunLockedError, match=f"process {owner.pid} "):
            RunLock(folder).acquire()


def test_one_process_cannot_own_a_folder_twice(folder: Path) -> None:
    lock = RunLock(folder)
    with lock:
        for another in (RunLock(folder), lock):
            with pytest.raises(RunLockedError, match=f"process {os.getpid()} "):
                another.acquire()
        assert names_in(folder) == ["lock-000001"]
    assert names_in(folder) == []
    with lock:  # A lock that was given back can be taken again.
        assert names_in(folder) == ["lock-000001"]


def test_a_process_with_the_same_number_is_another_one(folder: Path) -> None:
    forge(folder, silent=0)
    with pytest.raises(RunLockedError):
        RunLock(folder).acquire()
    born = _owner.this_process().born
    assert born is not None
    forge(folder, silent=0, born=born - 1)
    with RunLock(folder):
        assert names_in(folder) == ["lock-000005"]


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "elsewhere"},
        {"host": "elsewhere", "boot": None, "namespace": None, "born": None},
        {"boot": "this machine's name, another machine's boot"},
        {"namespace": "pid:[1]"},
        {"content": ""},
        {"content": '{"host": "else'},
        {"content": "[" * 4000},
        {"content": "x" * 5000},
        {"pid": -1},
        {"host": "\x1b[2J"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_an_owner_out_of_sight_is_replaced_after_a_minute_of_silence(
    folder: Path, changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for silent in (-10, 0, 55):
        path = forge(folder, silent, **changes)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 4e9)  # Clocks differ from machine to machine.
            with pytest.raises(RunLockedError, match=path.name) as caught:
                RunLock(folder).acquire()
        assert str(caught.value).isprintable()
        assert names_in(folder) == ["lock-000004"]
    forge(folder, 61, **changes)
    with RunLock(folder):
        assert names_in(folder) == ["lock-000005"]


def test_an_owner_before_the_last_boot_is_replaced_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 20.0)
    forge(folder, silent=15, boot="another")
    with pytest.raises(RunLockedError):
        RunLock(folder).acquire()
    forge(folder, silent=25, boot="another")
    with RunLock(folder):
        assert names_in(folder) == ["lock-000005"]


def test_a_forked_child_neither_holds_nor_releases(folder: Path) -> None:
    assert finished(FORKER, folder) == "7 1\n0\n"


# --- the heart


def test_the_lock_is_touched_until_it_is_released(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lock, "_BEAT", 0.02)
    lock = RunLock(folder)
    lock.acquire()
    (path,) = folder.iterdir()
    for _ in range(2):
        os.utime(path, (1, 1))
        until(lambda: path.stat().st_mtime > time.time() - 30)
    lock.release()
    assert "layerwise-lock" not in [thread.name for thread in threading.enumerate()]
    assert not lock.lost


@pytest.mark.parametrize("replaced", [False, True])
def test_an_owner_learns_that_it_lost_the_folder(
    folder: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lock, "_BEAT", 0.02)
    with RunLock(folder) as lock:
        (path,) = folder.iterdir()
        assert not lock.lost
        if replaced:
            forge(folder, silent=0, token="another").replace(path)
        else:
            path.unlink()
        until(lambda: lock.lost)
    assert names_in(folder) == ["lock-000001"] * replaced
    assert lock.lost


def test_a_disk_that_does_not_answer_is_asked_again_for_a_minute(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def touch(path: Path) -> None:
        asked.append(path)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_lock, "_BEAT", 0.01)
    with RunLock(folder) as lock:
        monkeypatch.setattr(_system, "touch", touch)
        until(lambda: len(asked) > 5)
        assert not lock.lost
        monkeypatch.setattr(_lock, "SILENT_SECONDS", 0.0)
        until(lambda: lock.lost)
    assert names_in(folder) == []


# --- creating the file


def test_who_comes_later_sees_the_other_and_steps_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = _system.link_new

    def link_after_another(source: Path, target: Path) -> None:
        forge(folder, silent=0)  # Under another number, as after an old look at the folder.
        link(source, target)

    monkeypatch.setattr(_system, "link_new", link_after_another)
    with pytest.raises(RunLockedError, match="lock-000004"):
        RunLock(folder).acquire()
    assert names_in(folder) == ["lock-000004"]


def test_a_folder_without_hard_links_has_one_owner_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(_system, "link_new", link)
    with RunLock(folder):
        assert names_in(folder) == ["lock-000001"]
        with pytest.raises(RunLockedError, match=f"process {os.getpid()} "):
            RunLock(folder).acquire()
    assert names_in(folder) == []


def test_an_answer_that_got_lost_on_the_network_is_no_defeat(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = _system.link_new

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(_system, "link_new", link_twice)
    with RunLock(folder):
        assert names_in(folder) == ["lock-000001"]


def test_an_owner_that_tidies_up_disturbs_nobody(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def tidied(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Path) -> None:
            calls.append(function.__name__)
            if calls.count(function.__name__) == 1:
                files.remove_leftovers(folder)
            function(*arguments)

        return call

    monkeypatch.setattr(_system, "link_new", tidied(_system.link_new))
    monkeypatch.setattr(_system, "touch", tidied(_system.touch))
    forge(folder, silent=61, host="elsewhere")
    with pytest.raises(RunLockedError):
        RunLock(folder).acquire()  # The clock was taken away, so nobody can tell: it lives.
    with RunLock(folder):
        assert names_in(folder) == ["lock-000005"]
    assert calls.count("link_new") == 2


def test_a_folder_that_cannot_be_locked_is_told(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(InputError, match="Name a folder that exists"):
            RunLock(path).acquire()

    def write_new(path: Path, parts: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_system, "write_new", write_new)
    with pytest.raises(DiskFullError, match="Make room"):
        RunLock(folder).acquire()


def test_an_interrupt_leaves_no_lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = _system.link_new

    def interrupted(source: Path, target: Path) -> None:
        link(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(_system, "link_new", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RunLock(folder).acquire()
    assert names_in(folder) == []


def test_a_crash_at_any_call_leaves_a_folder_that_can_be_taken(folder: Path) -> None:
    trials = [json.loads(line) for line in finished(CRASHER, folder).splitlines()]
    killed = [locks for was_killed, locks, _ in trials if was_killed]
    assert len(killed) == len(trials) - 1 >= 5
    assert [] in killed
    assert any(len(locks) == 2 for locks in killed)
    assert max(seconds for _, _, seconds in trials) < 1
    assert names_in(folder) == [name for name in names_in(folder) if name.startswith(".layer")]


def test_only_light_imports_are_needed(folder: Path) -> None:
    script = (
        "import sys, layerwise.files; print(sorted({'keras', 'jax', 'numpy'} & {*sys.modules}))"
    )
    assert finished(script) == "[]\n"


# --- many at once


@dataclass
class Race:
    """Processes that all want one folder, some of which are killed and replaced by others."""

    folder: Path
    rounds: int
    links: bool = True
    racers: list[tuple[subprocess.Popen[str], Path]] = field(default_factory=list)
    killed: int = 0

    def start(self, rounds: int) -> None:
        log = self.folder.parent / f"log-{len(self.racers)}"
        links = "links" if self.links else "no links"
        self.racers.append((started(RACER, self.folder, rounds, log, links), log))

    def owners(self) -> set[int]:
        """The processes that the lock files name at this instant."""
        found = (files._owner.read_owner(self.folder / name) for name in os.listdir(self.folder))
        return {owner.pid for owner in found if owner}

    def kill_one(self, choose: random.Random) -> None:
        """Kill the owner, or anybody, that has begun; what it had still to do another does."""
        running = [racer for racer in self.racers if racer[0].poll() is None and racer[1].exists()]
        if choose.random() < 0.5:
            try:
                owners = self.owners()
            except (FileNotFoundError, ValueError):
                return
            running = [racer for racer in running if racer[0].pid in owners]
        if running:
            process, log = choose.choice(running)
            process.kill()
            self.killed += process.wait() == -signal.SIGKILL
            self.start(max(self.rounds - log.read_text().count("acquired"), 5))

    def run(self, processes: int, kills: int) -> Counter[str]:
        for _ in range(processes):
            self.start(self.rounds)
        until(lambda: all(log.exists() for _, log in self.racers))
        (self.folder.parent / "go").touch()
        choose = random.Random(0)
        while self.killed < kills:
            if all(process.poll() is not None for process, _ in self.racers):
                self.start(self.rounds)
            time.sleep(choose.uniform(0, 0.002 * self.rounds))
            self.kill_one(choose)
        counts: Counter[str] = Counter(killed=self.killed)
        for process, log in self.racers:
            _, err = process.communicate(timeout=300)
            assert process.returncode in (0, -signal.SIGKILL), err
            for line in log.read_text().splitlines()[1:]:
                word, refused = line.split()
                counts.update({word: 1, "refused": int(refused)})
        return counts


def has_one_owner_at_a_time(race: Race, processes: int, kills: int) -> None:
    start = time.monotonic()
    counts = race.run(processes, kills)
    sys.stdout.write(
        f"\n{processes} processes, {race.rounds} rounds each: {counts['acquired']} acquired, "
        f"{counts['refused']} refused, {counts['killed']} killed, {counts['violation']} "
        f"violations, {time.monotonic() - start:.1f} s\n"
    )
    assert counts["violation"] == 0
    assert counts["acquired"] >= processes * race.rounds
    assert counts["killed"] == kills
    with RunLock(race.folder):
        locks = [name for name in names_in(race.folder) if name.startswith("lock-")]
        assert len(locks) == 1


@pytest.mark.parametrize("links", [True, False])
def test_a_race_has_one_winner_at_a_time(folder: Path, links: bool) -> None:
    has_one_owner_at_a_time(Race(folder, rounds=10, links=links), processes=8, kills=0)


def test_a_race_in_which_owners_are_killed(folder: Path) -> None:
    has_one_owner_at_a_time(Race(folder, rounds=10), processes=8, kills=5)


@pytest.mark.faults
def test_a_long_race_in_which_owners_are_killed(folder: Path) -> None:
    has_one_owner_at_a_time(Race(folder, rounds=140), processes=8, kills=20)
