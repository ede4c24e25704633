"""Small runs as processes that can be killed, and what must be true of the folders they leave.

As a script this is a server: it imports everything once and forks a process for every order that
comes in, since importing takes longer than the run itself. That is safe only because no JAX
program has run before the fork, so that JAX has no thread yet.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ARTEFACTS = {"run.json", "history.json", "model.keras", "depth.svg", "report.html"}
"""Of every run."""
PREPARATION = "preparation.json"
"""Of a run on a table as well."""
PHASES = (
    "starting",
    "growing",
    "compiling",
    "training",
    "scoring",
    "caching",
    "keeping",
    "choosing",
    "fine-tuning",
    "baseline",
    "exporting",
)
_LONGEST = 120.0
"""Seconds after which a process counts as hanging, and is aborted."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A process to be started: train into `folder`, or go on with the run that is there.

    Attributes:
        job: name of one of the jobs below.
        folder: of the run.
        log: file for the standard error.
        seconds: after which `signals` are sent, half a second between them; None for never.
        signals: numbers.
        awaited: a file in the folder; the seconds count from when it is there.
        calls: the process sends the first signal to itself at so many calls that change the
            disk; 0 for never.
        named: only calls with a file of this name are counted for that.
        where: `"before"`, `"within"` or `"after"` that call.
        setting: `"prompt"` as if a person had typed it at Python's prompt, `"stuck"` with a
            program that never comes back, `"torn"` to be killed within the first compiled program
            that is written down.
        compiled: folder of compiled programs; empty for none; None for that of all tests.
    """

    job: str
    folder: str
    log: str
    seconds: float | None = None
    signals: tuple[int, ...] = (signal.SIGKILL,)
    awaited: str = ""
    calls: int = 0
    named: str = ""
    where: str = "before"
    setting: str = ""
    compiled: str | None = None


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: as `subprocess` gives it; negative for a signal.
        seconds: since its start.
        late: seconds since the first signal was sent; None where none was.
        phase: what it did last.
        calls: how many calls have changed the disk.
        said: its standard error.
    """

    code: int
    seconds: float
    late: float | None
    phase: str
    calls: int
    said: str


class Server:
    """The other side of this file's script; close it at the end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, order: Order) -> Ended:
        """Start a process and wait for its end."""
        # It may be killed before it can say anything.
        _mark_of(order.folder).write_text(f"{PHASES[0]} 0")
        Path(order.log).write_text("")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        code, seconds, late = json.loads(self._process.stdout.readline())
        phase, calls = _mark_of(order.folder).read_text().split()
        said = Path(order.log).read_text()
        return Ended(code, seconds, late, phase, int(calls), said)

    def close(self) -> None:
        self._process.communicate(timeout=30)


def weights_of(folder: Path) -> str:
    """SHA-256 of all arrays in `model.keras`: the file itself holds the time of writing."""
    import h5py

    digest = hashlib.sha256()

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            digest.update(f"{name} {item.dtype} {item.shape}".encode() + item[()].tobytes())

    with zipfile.ZipFile(folder / "model.keras") as archive:
        stored = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(stored) as weights:
        weights.visititems(add)
    return digest.hexdigest()


def without_seconds(value: Any) -> Any:
    """The same JSON without any time."""
    if isinstance(value, dict):
        return {
            key: without_seconds(v) for key, v in value.items() if key not in ("seconds", "ledger")
        }
    if isinstance(value, list):
        return [without_seconds(item) for item in value]
    return value


def result_of(folder: Path) -> tuple[str, Any, str]:
    """What must be the same however often the run was stopped."""
    history = without_seconds(json.loads((folder / "history.json").read_text()))
    kept = folder / PREPARATION
    return weights_of(folder), history, kept.read_text() if kept.exists() else ""


def artefacts_of(folder: Path) -> set[str]:
    """The files that this run has when it is finished; its `run.json` must be there."""
    on_table = "findings" in json.loads((folder / "run.json").read_text())
    return ARTEFACTS | ({PREPARATION} if on_table else set())


def is_done(folder: Path) -> bool:
    """Whether the run is finished, and all its files are whole."""
    return (folder / "run.json").exists() and vouched_for(folder) == artefacts_of(folder)


def vouched_for(folder: Path) -> set[str]:
    """The names in `SHA256SUMS` whose files are there and have that hash."""
    if not (folder / "SHA256SUMS").exists():
        return set()
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    return {name for sha, name in lines if _sha_of(folder / name) == sha}


def _sha_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def leftovers(folder: Path) -> list[str]:
    """What only a process that lives, or was killed, has there."""
    ours = (".layerwise-", "lock-")
    return [str(p) for p in folder.rglob("*") if p.name.startswith(ours)]


def assert_finished(folder: Path) -> None:
    """The files and their hashes are there, and beside them the log, each stage in it once."""
    artefacts = artefacts_of(folder)
    beside = {"SHA256SUMS", "checkpoints", "events.jsonl"}
    assert {path.name for path in folder.iterdir()} == {*artefacts, *beside}
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    ends = [line["depth"] for line in lines if line["event"] == "stage_finished"]
    assert ends == list(range(1, len(ends) + 1))
    assert vouched_for(folder) == artefacts
    assert leftovers(folder) == []
    assert list(folder.glob("checkpoints/current-*")) == []


def assert_resumable(folder: Path) -> None:
    """The request and every checkpoint are whole, those of all stages in the history among them."""
    assert "run.json" in vouched_for(folder)
    # Of a finished run, what was in progress is being removed.
    hidden = (".", "current-") if is_done(folder) else (".",)
    found = [path for path in folder.glob("checkpoints/*") if not path.name.startswith(hidden)]
    for path in found:
        seal, _, body = (path / "manifest.json").read_bytes().partition(b"\n")
        assert hashlib.sha256(body).hexdigest() == seal.decode(), path
        assert _sha_of(path / "tensors.safetensors") == json.loads(body)["tensors"]["sha256"], path
    if (folder / "history.json").exists():
        for stage in json.loads((folder / "history.json").read_text())["stages"]:
            name = f"stage-{stage['depth']:04d}-0"
            assert {name, f"{name}-scores"} <= {path.name for path in found}


def _mark_of(folder: str) -> Path:
    return Path(f"{folder}.mark")


# From here on: what runs in the server and in the processes that it forks.


def table_of(folder: Path) -> Path:
    """A small CSV file, the same for every process: missing values, a category, two classes."""
    import numpy as np

    rng = np.random.default_rng(1)
    lines = ["size,age,colour,label"]
    for _ in range(200):
        size, age = rng.normal(), rng.integers(20, 60)
        colour = rng.choice(["red", "green", "blue", ""])
        label = "yes" if size + (colour == "red") > 0.3 else "no"
        lines.append(f"{'' if rng.random() < 0.1 else size},{age},{colour},{label}")
    path = folder.with_name(f"{folder.name}.csv")
    # In one step: this process may be killed at any instant.
    unfinished = path.with_suffix(".new")
    unfinished.write_text("\n".join(lines) + "\n")
    unfinished.replace(path)
    return path


def arguments_of(job: str, folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Data and arguments, the same in every process: `x`, `y` and the rest."""
    import keras
    import numpy as np

    import layerwise

    def block(depth: int) -> keras.Sequential:
        layers = keras.layers
        dense, norm = layers.Dense(24, use_bias=False), layers.BatchNormalization()
        return keras.Sequential([dense, norm, layers.ReLU(), layers.Dropout(0.3)])

    rng = np.random.default_rng(0)
    seen = rng.normal(size=(420, 4))
    y = (seen[:, 0] * seen[:, 1] > 0) + 1 * (seen[:, 2] * seen[:, 3] > 0.5)
    # As many numbers as the blocks give, so that all stages share one program.
    x = np.tanh(seen @ rng.normal(size=(4, 24))).astype("float32")
    how: dict[str, Any] = {
        "block": block,
        "test_data": (x[320:], y[320:]),
        "depth_rule": layerwise.FixedDepth(),
        "baseline": "quick",
        "checkpoint_every": 0.05,
    }
    tune, stop = layerwise.FineTune, keras.callbacks.EarlyStopping
    how |= {
        "endless": {"epochs": lambda depth: 50 if depth == 1 else 10**7, "max_depth": 2},
        "small": {"epochs": 400, "max_depth": 2, "baseline": "none"},
        "table": {"epochs": 400, "max_depth": 2, "baseline": "none", "test_data": None},
        "supervised": {"epochs": 400, "max_depth": 3, "fine_tune": tune(1e-3, epochs=300)},
        "reconstruction": {
            "objective": "reconstruction",
            "epochs": 200,
            "max_depth": 2,
            "fine_tune": tune(1e-3, epochs=200),
            "replicates": 2,
            "cache_dir": folder.with_name(f"{folder.name}-features"),
        },
        "fit": {
            "engine": "fit",
            "epochs": 8,
            "max_depth": 2,
            "fine_tune": tune(1e-3, epochs=5),
            "callbacks": [stop("val_loss", patience=4, restore_best_weights=True)],
        },
    }[job]
    if job == "table":
        return layerwise.Dataset.from_table(table_of(folder), target="label"), None, how
    return x[:320], y[:320], how


class _Mark:
    """Says in a small file what the process does, and how many calls have changed the disk."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self.phase, self.calls = "starting", 0
        self.write()

    def write(self) -> None:
        os.pwrite(self._file, f"{self.phase:<16} {self.calls:>8}\n".encode(), 0)

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """The whole network trains in phases of its own."""
        before = self.phase
        whole = before in ("fine-tuning", "baseline") and phase == "training"
        self.phase = before if whole else phase
        self.write()
        yield
        self.phase = before
        self.write()

    def wrap(self, owner: Any, name: str, phase: str) -> None:
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            with self.during(phase):
                return original(*arguments, **named)

        setattr(owner, name, wrapped)


def _mark_phases(mark: _Mark, stuck: bool) -> None:
    from layerwise.checkpoint import RunFolder, _journal, _pace
    from layerwise.checkpoint._pages import Pages
    from layerwise.engine import _session
    from layerwise.engine._compiled import CompiledEngine
    from layerwise.engine._fit import FitEngine
    from layerwise.engine._rows import Resident
    from layerwise.features import Features
    from layerwise.training import _finish, _loop, _run

    mark.wrap(_loop, "train_stage", "growing")
    for engine in (CompiledEngine, FitEngine):
        mark.wrap(engine, "train", "training")
        mark.wrap(engine, "evaluate", "scoring")
    mark.wrap(Features, "advance", "caching")
    mark.wrap(Features, "recall", "caching")
    mark.wrap(_journal, "write", "keeping")
    mark.wrap(_run, "finish", "choosing")
    mark.wrap(_finish, "tune", "fine-tuning")
    mark.wrap(_finish, "compare", "baseline")
    mark.wrap(RunFolder, "keep_model", "exporting")
    mark.wrap(Pages, "_draw", "exporting")
    mark.wrap(RunFolder, "seal", "exporting")
    # Many short calls, and a checkpoint as often as it was asked for, however long one takes.
    _session._CALL_SECONDS, _pace.SHARE = 0.02, 1
    original, compiled = Resident.train, set()

    def train(self: Resident, *arguments: Any) -> Any:
        known = id(self._program) in compiled
        compiled.add(id(self._program))
        if stuck:
            time.sleep(_LONGEST)
        with mark.during("training" if known else "compiling"):
            return original(self, *arguments)

    Resident.train = train  # type: ignore[method-assign]


def _count_calls(mark: _Mark, order: Order) -> None:
    """Count what changes the disk, and send the signal at the call that the order names."""
    from layerwise import files
    from layerwise.files import _system

    left = order.calls

    def is_it(arguments: tuple[Any, ...]) -> bool:
        nonlocal left
        names = [path.name for path in arguments if isinstance(path, Path)]
        left -= not order.named or order.named in names
        return left == 0 and bool(order.calls) and (not order.named or order.named in names)

    def strike() -> None:
        mark.write()
        os.kill(os.getpid(), order.signals[0])

    def counting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            mark.calls += 1
            here = is_it(arguments)
            if here and order.where == "within":
                _do_half(name, *arguments)
            if here and order.where != "after":
                strike()
            done = original(*arguments)
            if here and order.where == "after":
                strike()
            mark.write()
            return done

        return call

    calls = ("make_folder", "make_folders", "write_new", "sync", "replace", "link_new", "remove")
    for name in calls:
        setattr(_system, name, counting(name, getattr(_system, name)))
    # The room's door hands this one on as it was when it was imported.
    files.write_new = _system.write_new


def _do_half(name: str, path: Path, *rest: Any) -> None:
    """What a process killed within the call has done of it."""
    if name == "write_new":
        content = b"".join(rest[0])
        path.write_bytes(content[: len(content) // 2])
    elif name == "remove" and path.is_dir():
        for inside in sorted(path.iterdir())[:1]:
            inside.unlink()


def _work(order: Order) -> None:
    """Be the process that was ordered."""
    if order.compiled is not None:
        os.environ["LAYERWISE_CACHE"] = order.compiled
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for ours, theirs in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(ours, theirs)
    mark = _Mark(_mark_of(order.folder))
    _mark_phases(mark, order.setting == "stuck")
    _count_calls(mark, order)
    if order.setting == "torn":
        _tear_a_program()
    if order.setting == "prompt":
        sys.ps1 = ">>> "
    import layerwise

    folder = Path(order.folder)
    x, y, how = arguments_of(order.job, folder)
    if (folder / "run.json").exists():
        result = layerwise.resume(folder, x, y, verbose=1, **how)
    else:
        result = layerwise.train(x, y, run_dir=folder, verbose=1, **how)
    if order.setting == "prompt":
        shape = result.model.predict(x[:3], verbose=0).shape
        print(json.dumps([result.history.stop_reason, shape]), file=sys.stderr)  # noqa: T201


def _tear_a_program() -> None:
    """JAX writes compiled programs down by itself, by `Path.write_bytes`."""
    original = Path.write_bytes

    def write_bytes(self: Path, data: bytes) -> int:
        if self.name.endswith("-cache"):
            original(self, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, data)

    Path.write_bytes = write_bytes  # type: ignore[assignment,method-assign]


def _watch(pid: int, order: Order) -> tuple[int, float, float | None]:
    """Send the signals, wait for the end: code, seconds, seconds since the first signal."""
    start = time.monotonic()
    begun = None if order.awaited else start
    waiting, first = list(order.signals if order.seconds is not None else ()), None
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic()
        if ended:
            late = None if first is None else now - first
            return os.waitstatus_to_exitcode(status), now - start, late
        if begun is None and (Path(order.folder) / order.awaited).exists():
            begun = now
        gone = len(order.signals) - len(waiting)
        if waiting and begun is not None and now >= begun + order.seconds + 0.5 * gone:
            os.kill(pid, waiting.pop(0))
            first = first or now
        if now - start > _LONGEST:
            os.kill(pid, signal.SIGABRT)
        time.sleep(0.002)


def _serve() -> Order | None:
    """Fork for every order; None at the end in the server, the order in what was forked."""
    for line in sys.stdin:
        told = json.loads(line)
        order = Order(**{**told, "signals": tuple(told["signals"])})
        pid = os.fork()
        if pid == 0:
            return order
        sys.stdout.write(json.dumps(_watch(pid, order)) + "\n")
        sys.stdout.flush()
    return None


if __name__ == "__main__":
    import layerwise.plots
    import layerwise.training  # noqa: F401

    # A shell that starts something in the background has it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if (ordered := _serve()) is not None:
        _work(ordered)
