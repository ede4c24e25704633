"""A disk that fills, breaks or loses its power: the run says so, and the next session goes on."""

from __future__ import annotations

import copy
import errno
import functools
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import layerwise
from layerwise import cli, files
from layerwise.checkpoint import RunFolder, _format, _journal, _pace, _pages
from layerwise.engine import Engine, _session, make_engine
from layerwise.errors import DamagedError, DiskFullError, LayerwiseError
from layerwise.files import _system
from layerwise.progress import Event, Noted
from layerwise.training import _arguments

# --- small runs


@functools.cache
def _engine() -> Engine:
    """One for all runs, so that they share their programs."""
    return make_engine("auto")


def hasten(patch: pytest.MonkeyPatch) -> None:
    """Runs that last a fifth of a second and write a checkpoint after every step."""
    patch.setattr(_arguments, "make_engine", lambda *_: _engine())
    patch.setattr(_pages.plots, "to_svg", lambda ax: f"<svg>{'picture ' * 50}</svg>\n")
    patch.setattr(_pages.report, "render", lambda *facts: f"<html>{'word ' * 50}</html>\n")
    patch.setattr(_session, "_next_size", lambda steps, seconds: 1)
    patch.setattr(_pace, "SHARE", 0)
    # No power fails here but in a model, and 90 calls take longer than the training.
    patch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _hastened(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


def data(rows: int = 100, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(rows, width)).astype("float32")
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def arguments(width: int = 4, **changes: Any) -> dict[str, Any]:
    """Two stages, a checkpoint after each of four steps, and two steps of fine-tuning."""
    how: dict[str, Any] = {
        "block": lambda depth: keras.layers.Dense(width, activation="relu"),
        "epochs": 2,
        "batch_size": 40,
        "max_depth": 2,
        "depth_rule": layerwise.FixedDepth(),
        "fine_tune": layerwise.FineTune(learning_rate=0.01, epochs=1),
        "checkpoint_every": 1e-9,
        "verbose": 0,
    }
    return how | changes


class Listening(RunFolder):
    """A run folder that remembers what was noted.

    Args:
        path, resume: as for every run folder.
        hook: called with every event.
    """

    def __init__(
        self,
        path: Path,
        *,
        resume: bool = False,
        hook: Callable[[Event], None] = lambda event: None,
    ) -> None:
        super().__init__(path, resume=resume)
        self.notes: list[str] = []
        self._hook = hook

    def listen(self, event: Event) -> None:
        super().listen(event)
        if isinstance(event, Noted):
            self.notes.append(event.text)
        self._hook(event)


def without_seconds(value: Any) -> Any:
    """The same JSON without any time."""
    if isinstance(value, dict):
        return {
            key: without_seconds(v) for key, v in value.items() if key not in ("seconds", "ledger")
        }
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def weights_of(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.asarray(weight.value).tobytes())
    return digest.hexdigest()


def table(rows: int = 100) -> layerwise.Dataset:
    """From a frame with missing values and a category."""
    x, y = data(rows)
    size = np.where(np.arange(rows) % 9 == 4, np.nan, x[:, 0])
    colours, labels = np.array(["red", "green", "blue"]), np.array(["no", "yes"])
    frame = {"size": size, "age": x[:, 1], "colour": colours[np.arange(rows) % 3], "y": labels[y]}
    return layerwise.Dataset.from_table(pd.DataFrame(frame), target="y")


def train(folder: RunFolder | Path, rows: int = 100, **changes: Any) -> tuple[str, Any]:
    """Run and give what must be the same however often the run was stopped.

    `on_table=True` is a run on a table, whose preparation must be the same as well.
    """
    how = arguments(**changes)
    on_table = how.pop("on_table", False)
    given = (table(rows),) if on_table else data(rows, how.pop("inputs", 4))
    result = layerwise.train(*given, run_dir=folder, **how)
    told = without_seconds(result.history.to_dict())
    if on_table:
        told["preparation"] = (Path(result.run_dir) / "preparation.json").read_text()
    return weights_of(result.model), told


def go_on(folder: Path, rows: int = 100, **changes: Any) -> tuple[str, Any]:
    """Resume; or begin, where nothing had begun."""
    begun = (folder / "run.json").exists()
    return train(RunFolder(folder, resume=begun), rows, **changes)


def leftovers(folder: Path) -> list[str]:
    """What only a process that lives, or was killed, has there."""
    ours = (".layerwise-", "lock-")
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith(ours))


def whole_checkpoints(folder: Path) -> dict[str, _format.Checkpoint]:
    """Every checkpoint of a run that is there, whole, by the name of its folder."""
    root, found = folder / "checkpoints", {}
    for path in root.glob("[!.]*") if root.is_dir() else []:
        try:
            found[path.name] = _format.read(root, path.name)
        except (DamagedError, FileNotFoundError):
            continue
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """What every run must end with."""
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        return train(tmp_path_factory.mktemp("undisturbed") / "run")


# --- standing between a run and its disk

CALLS = [
    name
    for name, value in vars(_system).items()
    if isinstance(value, types.FunctionType) and value.__module__ == _system.__name__
]
SAVE = "save"
"""Keras writes `model.keras` by itself: a call of ours that is not in `_system`."""


@contextmanager
def intercepted(around: Callable[..., Any]) -> Iterator[None]:
    """Put `around(name, original, *arguments)` in the place of each call that changes the disk."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(_system, name, functools.partial(around, name, getattr(_system, name)))
        # The room's door hands this one on as it was when it was imported.
        patch.setattr(files, "write_new", _system.write_new)
        save = keras.Model.save
        patch.setattr(
            keras.Model,
            "save",
            lambda model, path: around(SAVE, functools.partial(save, model), path),
        )
        yield


# --- a failing call, for every call


@dataclass
class Fault:
    """Lets the call number `at` fail.

    Attributes:
        number: of the system's error.
        lasting: afterwards everything fails that needs room, as on a disk that stays full.
        torn: half of a file is written before its writing fails.
        name: of the call that failed, with what it was to change.
    """

    at: int
    number: int
    lasting: bool = False
    torn: bool = False
    calls: int = 0
    name: str = ""
    path: Path = Path()

    def __call__(self, name: str, original: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self.calls += 1
        goes_on = self.lasting and self.calls > self.at and name not in ("remove", "touch")
        if self.calls != self.at and not goes_on:
            return original(*given, **named)
        if self.calls == self.at:
            self.name, self.path = name, given[-1] if name in ("replace", "link_new") else given[0]
        if self.torn and name in ("write_new", SAVE):
            original(*given, **named)
            os.truncate(given[0], given[0].stat().st_size // 2)
        if self.torn and name == "append":
            original(given[0], given[1][: len(given[1]) // 2])
        raise OSError(self.number, os.strerror(self.number), str(given[0]))


FAULTS: dict[str, dict[str, Any]] = {
    "full": {"number": errno.ENOSPC, "lasting": True},
    "half": {"number": errno.ENOSPC, "torn": True},
    "broken": {"number": errno.EIO},
}


def told_well(error: BaseException, fault: Fault, folder: Path) -> bool:
    """Whether an error is what a user should see of a fault."""
    message = str(error)
    if fault.number != errno.ENOSPC or fault.name == "remove":
        return isinstance(error, LayerwiseError | OSError) and str(folder) in message
    wanted = ("bytes are needed", "more room is needed", "no room for a lock file")
    clear = any(text in message for text in wanted) and str(folder) in message
    return isinstance(error, DiskFullError) and clear and message.endswith(".")


def run_into(fault: Fault, folder: Path) -> tuple[str, Any] | BaseException:
    """A run whose call number `at` fails: what it ends with, or what it raises."""
    try:
        with intercepted(fault):
            return train(folder)
    except (LayerwiseError, OSError) as error:
        return error


def forget_the_process(folder: Path) -> None:
    """Remove a lock that could not be removed: its process would have ended since."""
    for lock in folder.glob("lock-*"):
        lock.unlink()


def fail_once(folder: Path, fault: Fault, expected: tuple[str, Any]) -> bool:
    """Run into a fault, go on without it, compare; whether the fault came about at all."""
    ended = run_into(fault, folder)
    where = f"call {fault.at}, {fault.name} {fault.path}: {ended!r}"
    if not isinstance(ended, BaseException):
        assert ended == expected, where
    else:
        assert told_well(ended, fault, folder), where
    left = leftovers(folder) if folder.exists() else []
    if fault.name == "remove":
        left = [name for name in left if name != fault.path.name]
        forget_the_process(folder)
    assert left == [], where
    assert go_on(folder) == expected, where
    assert RunFolder(folder, resume=True).damaged() == [], where
    assert leftovers(folder) == [], where
    return fault.name != ""


def test_a_call_that_fails(tmp_path: Path, undisturbed: tuple[str, Any]) -> None:
    for number, at in enumerate(range(1, 1000, 13)):
        kind = list(FAULTS)[number % len(FAULTS)]
        if not fail_once(tmp_path / f"{kind}-{at}", Fault(at, **FAULTS[kind]), undisturbed):
            break
    assert number > 15


@pytest.mark.faults
@pytest.mark.parametrize("kind", FAULTS)
def test_every_call_that_fails(tmp_path: Path, undisturbed: tuple[str, Any], kind: str) -> None:
    at = 1
    while fail_once(tmp_path / str(at), Fault(at, **FAULTS[kind]), undisturbed):
        shutil.rmtree(tmp_path / str(at))
        at += 1
    assert at > 200
    print(f"FAULTS | disk: failing call i, for every i, {kind} | {at - 1} | 0 lost")  # noqa: T201


def fault_at(wanted: str, of: str, folder: Path, **how: Any) -> Fault:
    """A fault at the first call `wanted` whose path ends with `of`, as a run without it has it."""
    calls: list[tuple[str, Path]] = []

    def note(name: str, original: Callable[..., Any], *given: Any, **named: Any) -> Any:
        calls.append((name, Path(given[-1] if name == "replace" else given[0])))
        return original(*given, **named)

    folder.parent.mkdir()
    with intercepted(note):
        train(folder)
    found = (i for i, (name, path) in enumerate(calls, 1) if name == wanted and path.match(of))
    return Fault(next(found), errno.ENOSPC, **how)


@pytest.mark.parametrize("of", ["full", "checkpoints"])
def test_no_room_for_a_folder_is_told_as_a_full_disk(tmp_path: Path, of: str) -> None:
    fault = fault_at("make_folders", of, tmp_path / "counted" / "full")
    ended = run_into(fault, tmp_path / "full")
    assert (fault.name, fault.path.name) == ("make_folders", of)
    assert isinstance(ended, DiskFullError)


def test_no_probe_is_left(tmp_path: Path) -> None:
    fault = fault_at("sync", "run", tmp_path / "counted" / "run")
    assert isinstance(run_into(fault, tmp_path / "run"), DiskFullError)
    assert leftovers(tmp_path / "run") == []


def test_one_removal_that_fails_does_not_keep_the_other_from_being_tried(tmp_path: Path) -> None:
    folder, old = tmp_path / "current-a", tmp_path / "current-a" / "old"
    folder.mkdir()
    old.write_text("old")

    def fail(name: str, original: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if name == "remove" and not given[0].exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(*given, **named)

    with (
        intercepted(fail),
        pytest.raises(OSError, match="output"),
        files.replacing_folder(folder) as new,
    ):
        _system.write_new(new / "new", [])
    assert [path.name for path in tmp_path.rglob("*")] == ["current-a", "new"]


def test_hdf5_tells_of_a_full_disk_in_its_text_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: tuple[str, Any]
) -> None:
    def save(model: keras.Model, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("Can't write data (file write failed: errno = 28, error message = 'No space")

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", save)
        with pytest.raises(DiskFullError, match="bytes are needed"):
            train(tmp_path / "run")
    assert leftovers(tmp_path / "run") == []
    assert go_on(tmp_path / "run") == undisturbed


# --- the power fails


@dataclass
class File:
    """What was written, and what of it is on the disk for sure: nothing, before it was synced."""

    data: bytes
    safe: bytes | None = None


@dataclass
class Folder:
    """The names in it after each change since it was synced, the state then first."""

    past: list[dict[str, File | Folder]] = field(default_factory=lambda: [{}])

    @property
    def names(self) -> dict[str, File | Folder]:
        return self.past[-1]

    def change(self, **names: File | Folder | None) -> None:
        """Give names, or take them where there is None: one change that happens at once."""
        new = {**self.names, **names}
        self.past.append({name: node for name, node in new.items() if node is not None})


Step = tuple[Any, ...]
Choice = Callable[[Folder], int]
"""Which of the past states of a folder is found after the power has failed."""

WORST: Choice = lambda folder: 0  # noqa: E731
BEST: Choice = lambda folder: len(folder.past) - 1  # noqa: E731


class Disk:
    """A file system that promises what POSIX promises, and no more.

    Data are safe once their file was synced, a name once its folder was. Changes of one folder
    reach the disk in their order.
    """

    def __init__(self) -> None:
        self.root = Folder()

    def apply(self, step: Step) -> None:
        name, path, *rest = step
        if name == "sync":
            node = self._at(path)
            if isinstance(node, File):
                node.safe = node.data
            else:
                node.past = [node.names]
        if name in ("sync", "kept", "sealed"):
            return
        *above, last = path
        inside = self._at(above)
        assert isinstance(inside, Folder)
        if name == "folder" and last not in inside.names:
            inside.change(**{last: Folder()})
        elif name == "write":
            inside.change(**{last: File(rest[0])})
        elif name == "replace":
            inside.change(**{last: None, rest[0][-1]: inside.names[last]})
        elif name == "link":
            inside.change(**{rest[0][-1]: inside.names[last]})
        elif name == "remove":
            inside.change(**{last: None})

    def _at(self, path: Sequence[str]) -> File | Folder:
        node: File | Folder = self.root
        for name in path:
            assert isinstance(node, Folder)
            node = node.names[name]
        return node

    def after_power(self, choose: Choice, torn: bool) -> dict[tuple[str, ...], bytes | None]:
        """Every file (its bytes) and folder (None) that is found; what was not synced is cut."""
        found: dict[tuple[str, ...], bytes | None] = {}

        def walk(folder: Folder, path: tuple[str, ...]) -> None:
            for name, node in folder.past[choose(folder)].items():
                if isinstance(node, Folder):
                    found[*path, name] = None
                    walk(node, (*path, name))
                elif node.safe is None:
                    found[*path, name] = node.data[: len(node.data) // 2 if torn else 0]
                else:
                    found[*path, name] = node.safe

        walk(self.root, ())
        return found


class Recorder:
    """Keeps every step of a run that changes what is below `root`, and what the run relies on."""

    def __init__(self, root: Path) -> None:
        self.steps: list[Step] = []
        self._root = root

    def parts(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self._root).parts

    def __call__(
        self, name: str, original: Callable[..., Any], path: Path, *rest: Any, **named: Any
    ) -> Any:
        """Do it, then note it: what a call has not returned from is not promised."""
        steps = list(self._steps(name, path, *rest))
        done = original(path, *rest, **named)
        if name in ("write_new", SAVE):
            steps = [("write", self.parts(path), path.read_bytes())]
        self.steps += steps
        return done

    def _steps(self, name: str, path: Path, *rest: Any) -> Iterator[Step]:
        if name == "remove" and path.is_dir():
            for inside in sorted(path.iterdir()):
                yield from self._steps("remove", inside)
        if name in ("replace", "link_new"):
            yield name.removesuffix("_new"), self.parts(path), self.parts(rest[0])
        elif name in ("make_folder", "make_folders"):
            yield "folder", self.parts(path)
        elif name == "sync" or (name == "remove" and os.path.lexists(path)):
            yield name, self.parts(path)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Note also when a training counts as kept: from then on it may not be lost."""
        write = _journal.write

        def noted(path: Path, checkpoint: _format.Checkpoint) -> None:
            write(path, checkpoint)
            self.steps.append(("kept", self.parts(path), checkpoint.serial))

        seal = RunFolder.seal

        def sealed(folder: RunFolder) -> None:
            seal(folder)
            self.steps.append(("sealed", self.parts(folder.path)))

        with pytest.MonkeyPatch.context() as patch, intercepted(self):
            patch.setattr(_journal, "write", noted)
            patch.setattr(RunFolder, "seal", sealed)
            yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    root = tmp_path_factory.mktemp("recorded")
    recorder = Recorder(root)
    with pytest.MonkeyPatch.context() as patch, recorder.following():
        hasten(patch)
        train(root / "run")
    return recorder.steps


def put(found: dict[tuple[str, ...], bytes | None], root: Path) -> None:
    """Make real what was found. The machine has booted since, and the process is gone."""
    for path, content in found.items():
        target = root.joinpath(*path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            target.mkdir(exist_ok=True)
            continue
        if path[-1].startswith("lock-") and content.endswith(b"}"):
            content = json.dumps(json.loads(content) | {"boot": "an earlier one"}).encode()
        target.write_bytes(content)
        os.utime(target, (1e9, 1e9))


@dataclass
class Promises:
    """What the run relied on after some of its steps."""

    begun: bool = False
    finished: set[str] = field(default_factory=set)
    newest: int = 0
    sealed: bool = False

    def add(self, step: Step) -> None:
        self.sealed = self.sealed or step[0] == "sealed"
        if step[0] != "kept":
            return
        self.begun = True
        name = step[1][-1]
        if name.startswith("current-"):
            self.newest = step[2]
        else:
            self.finished.add(name)
            self.newest = 0

    def are_kept_in(self, folder: Path) -> bool:
        """Whether nothing is lost, and at most one training more is there."""
        found = whole_checkpoints(folder)
        current = {name for name in found if name.startswith("current-")}
        finished = found.keys() - current - {"model"}
        newest = max((found[name].serial for name in current), default=0)
        begun = (folder / "run.json").exists() or not self.begun
        whole = not self.sealed or RunFolder(folder, resume=True).damaged() == []
        told = {f"stage-{depth:04d}-0-scores" for depth in shown_in(folder)} <= finished
        enough = self.finished <= finished and newest >= self.newest
        return begun and whole and told and enough and len(finished - self.finished) <= 1


def shown_in(folder: Path) -> list[int]:
    """The depths in `history.json`, which may show no stage that a resume would train again."""
    history = folder / "history.json"
    if not history.exists():
        return []
    return [stage["depth"] for stage in json.loads(history.read_text())["stages"]]


def crashes(
    steps: list[Step], choices: list[tuple[Choice, bool]]
) -> Iterator[tuple[int, Promises, dict[tuple[str, ...], bytes | None]]]:
    """After each step, what may be found, without what was found before."""
    disk, promises = Disk(), Promises()
    seen: set[str] = set()
    for number, step in enumerate(steps, 1):
        disk.apply(step)
        promises.add(step)
        for choose, torn in choices:
            found = disk.after_power(choose, torn)
            key = hashlib.sha256(repr((sorted(found.items()), promises)).encode()).hexdigest()
            if key not in seen:
                seen.add(key)
                yield number, copy.deepcopy(promises), found


def fail_power(
    root: Path,
    found: dict[tuple[str, ...], bytes | None],
    promises: Promises,
    expected: tuple[str, Any] | None,
) -> None:
    """What is found must hold what was promised, and lead to the same end, where one is given."""
    root.mkdir()
    put(found, root)
    folder = root / "run"
    assert promises.are_kept_in(folder), promises
    if expected is not None:
        assert go_on(folder) == expected
        assert RunFolder(folder, resume=True).damaged() == []
        assert leftovers(folder) == []
    shutil.rmtree(root)


def test_the_power_fails(
    tmp_path: Path, recorded: list[Step], undisturbed: tuple[str, Any]
) -> None:
    """Promises are looked at after every call; a resume takes longer, and follows on some."""
    states = list(crashes(recorded, [(WORST, True), (BEST, False)]))
    for number, (_, promises, found) in enumerate(states):
        fail_power(tmp_path / "root", found, promises, None if number % 12 else undisturbed)
    assert len(states) > 200


@pytest.mark.faults
def test_the_power_fails_after_every_call(
    tmp_path: Path, recorded: list[Step], undisturbed: tuple[str, Any]
) -> None:
    rng = random.Random(0)
    some: Choice = lambda folder: rng.randrange(len(folder.past))  # noqa: E731
    choices = [(WORST, True), (WORST, False), (BEST, True), (BEST, False), (some, True)]
    count = 0
    for _, promises, found in crashes(recorded, choices):
        fail_power(tmp_path / "root", found, promises, undisturbed)
        count += 1
    assert count > 300
    changes = sum(step[0] not in ("kept", "sealed") for step in recorded)
    print(  # noqa: T201
        f"FAULTS | disk: power fails after each of {changes} changes, states that may be found | "
        f"{count} | all at step k or k-1, 0 different final hashes"
    )


# --- real disks that are small

WIDE: dict[str, Any] = {
    "inputs": 256,
    "width": 256,
    "fine_tune": None,
    "epochs": 1,
    "max_depth": 4,
    "depth_rule": layerwise.FixedDepth(keep="last"),
}
"""A stage of 265 kB, whose checkpoint in progress takes 795 kB: there are two, and a third while it
is written."""


@pytest.fixture(scope="module")
def undisturbed_wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        return train(tmp_path_factory.mktemp("wide") / "run", **WIDE)


class SmallDisk:
    """A file system in memory.

    Args:
        path: an empty folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, size: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "layerwise-test", str(self.path)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")

    def grow(self, size: str) -> None:
        """Free room, as a person would who is told that the disk is full."""
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)

    def unmount(self) -> None:
        # Lazily: features are mapped until the last array is gone.
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """A disk of the size that the test's parameter names, or a visible skip."""
    path = tmp_path / "disk"
    path.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("no small disk can be mounted here: there is no `mount`")
    disk = SmallDisk(path)
    disk.mount(request.param)
    yield disk
    disk.unmount()


def is_told_once(message: str, folder: Path) -> bool:
    """One message with bytes needed, the folder, and what to do."""
    one = message.count("\n") == 0 and message.endswith(".")
    return one and "bytes are needed" in message and str(folder) in message


@pytest.mark.parametrize("disk", ["3m"], indirect=True)
def test_checkpoints_that_do_not_fit(disk: SmallDisk, undisturbed_wide: tuple[str, Any]) -> None:
    folder = disk.path / "run"
    with pytest.raises(DiskFullError) as raised:
        train(folder, **WIDE)
    assert is_told_once(str(raised.value), folder)
    assert leftovers(folder) == []
    kept = whole_checkpoints(folder)
    assert kept.keys() == {path.name for path in (folder / "checkpoints").iterdir()}
    assert {"stage-0001-0", "stage-0001-0-scores", "current-a", "current-b"} <= kept.keys()
    disk.grow("64m")
    assert go_on(folder, **WIDE) == undisturbed_wide
    assert RunFolder(folder, resume=True).damaged() == []


@pytest.mark.parametrize("disk", ["1m"], indirect=True)
def test_features_that_do_not_fit(disk: SmallDisk, tmp_path: Path) -> None:
    """Written through a map, as NumPy does it, the process would die of SIGBUS."""
    how = {"rows": 1600, "width": 256, "fine_tune": None, "epochs": 1, "batch_size": 640}
    expected = train(tmp_path / "undisturbed", **how)
    cache = disk.path / "features"
    with pytest.raises(DiskFullError) as raised:
        train(tmp_path / "run", cache_dir=cache, **how)
    assert is_told_once(str(raised.value), cache)
    assert leftovers(tmp_path) == []
    disk.grow("64m")
    assert go_on(tmp_path / "run", cache_dir=cache, **how) == expected
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("disk", ["48k"], indirect=True)
def test_the_command_line_on_a_full_disk(
    disk: SmallDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def layerwise_says(*line: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["layerwise", *line])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        assert isinstance(code, int)
        return code, capsys.readouterr().err

    undisturbed, folder = tmp_path / "undisturbed", disk.path / "run"
    short = ["--epochs", "1", "--max-depth", "2", "--baseline", "none"]
    short += ["--batch-size", "200", "--checkpoint-every", "0.000001", "--out"]
    assert layerwise_says("run", "blobs-supervised", *short, str(undisturbed))[0] == 0
    code, said = layerwise_says("run", "blobs-supervised", *short, str(folder))
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert (code, len(errors)) == (1, 1)
    assert "Traceback" not in said
    assert is_told_once(errors[0], folder)
    disk.grow("64m")
    assert layerwise_says("resume", str(folder))[0] == 0
    ended = [keras.models.load_model(path / "model.keras") for path in (folder, undisturbed)]
    assert weights_of(ended[0]) == weights_of(ended[1])


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Let every file of this process be at most so large; the system says EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        pytest.param(300_000, set(), id="a checkpoint in progress"),
        pytest.param(1_000_000, {"stage-0004-0", "current-a", "current-b"}, id="the model"),
    ],
)
def test_files_may_not_be_large(
    tmp_path: Path, undisturbed_wide: tuple[str, Any], limit: int, kept: set[str]
) -> None:
    folder = tmp_path / "run"
    with no_file_above(limit), pytest.raises(DiskFullError) as raised:
        train(folder, **WIDE)
    assert is_told_once(str(raised.value), folder)
    assert leftovers(folder) == []
    assert kept <= whole_checkpoints(folder).keys()
    assert go_on(folder, **WIDE) == undisturbed_wide


# --- at the start


def test_a_run_does_not_start_where_there_is_no_room_for_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage is 4 x 4 + 4 weights and 4 x 2 + 2 in its head; what it measures is little more."""
    free = 0

    def usage(path: Path) -> Any:
        return types.SimpleNamespace(total=10**12, used=10**12 - free, free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    folder = tmp_path / "run"
    with pytest.raises(DiskFullError, match="bytes are needed, 0 are free") as raised:
        train(folder, max_depth=1)
    assert is_told_once(str(raised.value), folder)
    assert not folder.exists()
    needed = int(str(raised.value).split(" bytes are needed")[0].split()[-1].replace(",", ""))
    assert 7 * 4 * 30 <= needed <= 7 * 4 * 50
    free = needed - 1
    with pytest.raises(DiskFullError, match=f"{needed - 1:,} are free"):
        train(folder, max_depth=1)
    assert not folder.exists()
    free = needed
    train(folder, max_depth=1)
