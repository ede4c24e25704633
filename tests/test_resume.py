"""A run that goes on is the run that was never interrupted; and what is refused."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise import files, plots, report
from layerwise._random import Stream, derive
from layerwise.checkpoint import _journal, _pace
from layerwise.checkpoint._format import Checkpoint, read, write
from layerwise.checkpoint._journal import KeptJournal, KeptWatch
from layerwise.engine import Engine, Problem, Snapshot, UnstorableError, Watch, make_engine
from layerwise.engine import _fit as fit_engine
from layerwise.errors import DamagedError, DivergedError, InputError, RunLockedError
from layerwise.files import _system
from layerwise.growth import digest
from layerwise.history import StopReason
from layerwise.progress import Event, Listener, Noted, StageFinished
from layerwise.training import _arguments, _facts, _run
from layerwise.training._replica import Replica
from stages import BLOCKS, Block, problem

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="about the JAX engine")
KINDS = ["compiled", "fit"] if keras.backend.backend() == "jax" else ["fit"]
RESTING = 1e-9
"""Seconds between checkpoints that leave no pause without one, while writing is quick."""


# --- One stage -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    """One engine of each kind, so that tests share compiled programs as a run's stages do."""
    return {name: make_engine(name) for name in ("auto", *KINDS)}  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _a_step_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled engine pauses after every step, so also within epochs."""
    if "compiled" in KINDS:
        from layerwise.engine import _compiled, _session

        monkeypatch.setattr(_session, "_CALL_SECONDS", 0.0)
        monkeypatch.setattr(_compiled, "_PROGRAMS_KEPT", 999)


@pytest.fixture(autouse=True)
def _quick_runs(monkeypatch: pytest.MonkeyPatch, engines: dict[str, Engine]) -> None:
    """Runs share their programs too, and spend no time on pictures and on the disk's own cache."""
    monkeypatch.setattr(_arguments, "make_engine", lambda name, *_: engines[name])
    monkeypatch.setattr(plots, "to_svg", lambda ax: "<svg/>")
    monkeypatch.setattr(report, "render", lambda *parts, **more: "<p>The report</p>")
    monkeypatch.setattr(_system, "sync", lambda path: None)


class Notes(Watch):
    """Takes a snapshot at every pause; the training goes on."""

    def __init__(self, start: Snapshot | None = None) -> None:
        self.start = start
        self.taken: list[Snapshot] = []

    def pause(self, take: Callable[[], Snapshot]) -> None:
        self.taken.append(take())


def through_a_file(snapshot: Snapshot) -> Snapshot:
    """What a later session reads of a snapshot."""
    write(Path("kept"), Checkpoint("stage", "run", {}, "", 1, 0.0, snapshot))
    return read(Path(), "kept").snapshot


def bits(stage: Problem) -> dict[str, bytes]:
    """Every weight, statistic, random state and number of the optimizer, bit for bit."""
    named = {"model": stage.model.variables, "optimizer": stage.optimizer.variables}
    return {
        f"{group}.{i}": np.asarray(keras.ops.convert_to_numpy(variable.value)).tobytes()
        for group, variables in named.items()
        for i, variable in enumerate(variables)
    }


def assert_alike(ours: tuple[Problem, Any], theirs: tuple[Problem, Any]) -> None:
    assert bits(ours[0]) == bits(theirs[0])
    assert ours[1] == theirs[1]


SHORT = Block("short", lambda: layers.Dense(8, "relu", dtype="bfloat16"))
STAGES: dict[str, Callable[..., Problem]] = {
    "dense": lambda **extra: problem(BLOCKS[0], epochs=3, **extra),
    "dropout-norm-clip-weights": lambda **extra: problem(
        BLOCKS[2], optimizer="decay-clip", epochs=3, weights=True, **extra
    ),
    "moving-average": lambda **extra: problem(BLOCKS[2], optimizer="ema", epochs=3, **extra),
    "schedule-values": lambda **extra: problem(
        BLOCKS[0], "values", "momentum-schedule", epochs=3, **extra
    ),
    "penalty-global-clip": lambda **extra: problem(
        BLOCKS[1], optimizer="global-clip", epochs=3, **extra
    ),
    "convolution-features": lambda **extra: problem(
        BLOCKS[3], "reconstruct-features", epochs=2, **extra
    ),
    "inputs": lambda **extra: problem(BLOCKS[0], "reconstruct-inputs", epochs=3, **extra),
    "attention": lambda **extra: problem(BLOCKS[6], epochs=2, **extra),
    "bfloat16": lambda **extra: problem(SHORT, epochs=2, **extra),
    "recurrent": lambda **extra: problem(BLOCKS[5], epochs=2, **extra),
}
_QUICK = ("dropout-norm-clip-weights", "moving-average", "schedule-values")
"""Keras' own loop on JAX takes seconds to compile; elsewhere it serves the whole table."""


@pytest.mark.engines
@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, n) for k in KINDS for n in STAGES if k == "compiled" or len(KINDS) == 1 or n in _QUICK],
)
def test_a_stage_goes_on_from_a_random_pause(
    engines: dict[str, Engine], kind: str, name: str
) -> None:
    whole, watch = STAGES[name](), Notes()
    result = engines[kind].train(whole, watch)
    dice = random.Random(f"{kind} {name}")
    inside = [s for s in watch.taken[:-1] if s.facts.get("step", 1) % 3]
    assert inside, "every third step ends an epoch, the others do not"
    fresh = STAGES[name]()
    again = engines[kind].train(fresh, Notes(through_a_file(dice.choice(inside))))
    assert_alike((fresh, again), (whole, result))


@on_jax
@pytest.mark.parametrize("name", ["dropout-norm-clip-weights", "moving-average"])
def test_a_stage_goes_on_from_every_pause(engines: dict[str, Engine], name: str) -> None:
    """The last one too, where nothing but the end is left to do."""
    whole, watch = STAGES[name](), Notes()
    result = engines["compiled"].train(whole, watch)
    assert [s.facts["step"] for s in watch.taken] == list(range(1, 10))
    for snapshot in watch.taken:
        fresh = STAGES[name]()
        again = engines["compiled"].train(fresh, Notes(snapshot))
        assert_alike((fresh, again), (whole, result))


@pytest.mark.engines
@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_stage_ends_alike_from_its_last_pause(
    engines: dict[str, Engine], kind: str
) -> None:
    whole, watch = STAGES["moving-average"](), Notes()
    result = engines[kind].train(whole, watch)
    fresh = STAGES["moving-average"]()
    again = engines[kind].train(fresh, Notes(through_a_file(watch.taken[-1])))
    assert_alike((fresh, again), (whole, result))


@pytest.mark.engines
@pytest.mark.parametrize("kind", KINDS)
def test_taking_snapshots_changes_nothing(engines: dict[str, Engine], kind: str) -> None:
    ends = []
    for watch in (Watch(), Notes()):
        stage = STAGES["dropout-norm-clip-weights"]()
        ends.append((stage, engines[kind].train(stage, watch)))
    assert_alike(*ends)


class Diary(keras.callbacks.Callback):
    """Remembers in lists, dictionaries and arrays, and steers by what it remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.book: dict[str, Any] = {"best": (math.inf, -1), "rates": {"of": []}, "none": None}
        self.mean = np.zeros(2, "float32")
        self.count = np.int64(0)
        self.less = keras.ops.less
        self.flag = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.flag = not self.flag

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])
        self.count += 1
        self.mean = 0.5 * self.mean + np.float32(logs["loss"])
        if logs["loss"] < self.book["best"][0]:
            self.book["best"] = (logs["loss"], epoch)
        rate = 0.01 / (len(self.losses) + float(self.mean[0]) + self.book["best"][1])
        self.book["rates"]["of"].append(rate)
        self.model.optimizer.learning_rate = rate / float(self.count)


CALLBACKS: dict[str, Callable[[], list[keras.callbacks.Callback]]] = {
    "early-stopping": lambda: [
        keras.callbacks.EarlyStopping(
            "val_loss", patience=3, min_delta=0.6, restore_best_weights=True
        )
    ],
    "plateau": lambda: [
        keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=0.2, cooldown=1)
    ],
    "scheduler": lambda: [keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.8 * rate)],
    "diary": lambda: [Diary()],
    "together": lambda: [
        Diary(),
        keras.callbacks.EarlyStopping("loss", patience=4, min_delta=0.3, restore_best_weights=True),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
    ],
}


@pytest.mark.engines
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_remember(engines: dict[str, Engine], kind: str, name: str) -> None:
    """The stop epoch, the learning rates, the best weights, and what the callbacks hold."""

    def trained(start: Snapshot | None) -> tuple[Problem, Any, Notes]:
        stage = problem(BLOCKS[0], epochs=7, callbacks=CALLBACKS[name]())
        watch = Notes(start)
        return stage, engines[kind].train(stage, watch), watch

    whole, result, watch = trained(None)
    assert (result.epochs < 7) is (name in ("early-stopping", "together"))
    middle = [s for s in watch.taken if s.arrays.get("curve.loss", np.zeros(0)).size in (2, 3)]
    for snapshot in (random.Random(f"{kind} {name}").choice(middle), watch.taken[-1]):
        fresh, again, _ = trained(through_a_file(snapshot))
        assert_alike((fresh, again), (whole, result))
        for ours, theirs in zip(fresh.callbacks, whole.callbacks, strict=True):
            assert told(ours) == told(theirs)


def told(callback: keras.callbacks.Callback) -> dict[str, str]:
    """What a callback holds, in words; functions are new in every session."""
    return {
        name: repr(value)
        for name, value in vars(callback).items()
        if name not in ("_model", "params") and not callable(value)
    }


def test_lists_of_the_user_are_filled_in_place(engines: dict[str, Engine]) -> None:
    watch = Notes()
    kind = KINDS[0]
    engines[kind].train(problem(BLOCKS[0], epochs=3, callbacks=[Diary()]), watch)
    mine = Diary()
    losses, book = mine.losses, mine.book
    result = engines[kind].train(
        problem(BLOCKS[0], epochs=3, callbacks=[mine]), Notes(watch.taken[-2])
    )
    assert losses is mine.losses
    assert book is mine.book
    assert losses == result.curves["loss"]


class Holding(keras.callbacks.Callback):
    """Holds something."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held


@pytest.mark.engines
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "held",
    [object(), {1: 2}, {3}, [SimpleNamespace()], np.array([None])],
    ids=["object", "dictionary", "set", "list", "array"],
)
def test_what_no_file_keeps_is_said(engines: dict[str, Engine], kind: str, held: Any) -> None:
    with pytest.raises(UnstorableError, match=r"callback\.0\.held"):
        engines[kind].train(problem(BLOCKS[0], epochs=1, callbacks=[Holding(held)]), Notes())


def test_an_open_file_is_said(engines: dict[str, Engine]) -> None:
    with Path("log").open("w") as log, pytest.raises(UnstorableError, match=r"held is a TextIO"):
        engines[KINDS[0]].train(problem(BLOCKS[0], epochs=1, callbacks=[Holding(log)]), Notes())


@pytest.mark.parametrize(
    "held", [np.array(["no", "yes"]), np.array([1j]), np.array(["2020"], "M8[D]")], ids=str
)
def test_arrays_of_any_type_are_kept_or_refused(engines: dict[str, Engine], held: Any) -> None:
    watch = Notes()
    try:
        engines[KINDS[0]].train(problem(BLOCKS[0], epochs=1, callbacks=[Holding(held)]), watch)
    except UnstorableError:
        return
    through_a_file(watch.taken[-1])


def test_a_snapshot_of_another_network_is_refused(engines: dict[str, Engine]) -> None:
    watch = Notes()
    engines[KINDS[0]].train(problem(BLOCKS[0], epochs=1), watch)
    wider = Block("wider", lambda: layers.Dense(9, activation="relu"))
    with pytest.raises(InputError, match=r"does not fit.*\(6, 9\).*\(6, 8\)"):
        engines[KINDS[0]].train(problem(wider, epochs=1), Notes(watch.taken[-1]))


# --- A whole run -----------------------------------------------------------------------------


class Stop(KeyboardInterrupt):
    """Somebody pressed Ctrl-C."""


class Sessions:
    """Runs in this process that are counted, watched, and interrupted where a test says.

    Attributes:
        stop: `(what, n)`: raise at the n-th of `"event"`, `"pause"`, `"keep"` (before a training
            is kept) or `"kept"` (after it was), counted from the start of the session.
        counts: what was counted in this session.
        trained: the names of the trainings that engines were called for, over all sessions.
        events: of this session.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.stop: tuple[str, int] | None = None
        self.counts: Counter[str] = Counter()
        self.trained: list[str] = []
        self.went_on: list[str] = []
        self.kept: list[str] = []
        self.events: list[Event] = []
        self._name = ""
        patch.setattr(_run, "display", self._display)
        self._around(patch, KeptWatch, "pause", after="pause")
        self._patch_journal(patch)
        self._patch_engine(patch, fit_engine.FitEngine)
        if "compiled" in KINDS:
            from layerwise.engine._compiled import CompiledEngine

            self._patch_engine(patch, CompiledEngine)

    def count(self, what: str) -> None:
        self.counts[what] += 1
        if self.stop == (what, self.counts[what]):
            raise Stop

    def run(
        self, how: Callable[..., Any], *arguments: Any, stop: Any = None, **more: Any
    ) -> layerwise.TrainResult | None:
        """One session; None where it was interrupted."""
        self.stop, self.counts, self.events = stop, Counter(), []
        try:
            return how(*arguments, **more)
        except Stop:
            return None
        finally:
            self.stop = None

    @contextmanager
    def _display(self, verbose: Any) -> Iterator[Listener]:
        def listen(event: Event) -> None:
            self.events.append(event)
            self.count("event")

        yield listen

    def _around(self, patch: pytest.MonkeyPatch, kind: Any, method: str, after: str) -> None:
        original = getattr(kind, method)

        def counted(this: Any, *arguments: Any, **more: Any) -> Any:
            done = original(this, *arguments, **more)
            self.count(after)
            return done

        patch.setattr(kind, method, counted)

    def _patch_journal(self, patch: pytest.MonkeyPatch) -> None:
        keep, watch = KeptJournal.keep, KeptJournal.watch

        def kept(this: Any, name: str, *arguments: Any, **more: Any) -> None:
            self.count("keep")
            keep(this, name, *arguments, **more)
            self.kept.append(name)
            self.count("kept")

        def watched(this: Any, name: str, *arguments: Any, **more: Any) -> Any:
            self._name = name
            return watch(this, name, *arguments, **more)

        patch.setattr(KeptJournal, "keep", kept)
        patch.setattr(KeptJournal, "watch", watched)

    def _patch_engine(self, patch: pytest.MonkeyPatch, kind: Any) -> None:
        train = kind.train

        def trained(this: Any, stage: Problem, watch: Watch) -> Any:
            assert self._name not in self.kept, f"{self._name} was finished"
            self.trained.append(self._name)
            if watch.start is not None:
                self.went_on.append(self._name)
            return train(this, stage, watch)

        patch.setattr(kind, "train", trained)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    return Sessions(monkeypatch)


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k not in ("seconds", "ledger")}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def facts_of(result: layerwise.TrainResult) -> dict[str, Any]:
    """All that a run gives, but how long it took."""
    return {
        "weights": [None if model is None else digest(model) for model in result.models],
        "best": result.best,
        "depth": result.selected_depth,
        "test": result.test,
        "history": without_seconds(result.history.to_dict()),
    }


def dense(depth: int) -> keras.Layer:
    return layers.Dense(8, activation="relu")


def normed(depth: int) -> keras.Layer:
    return keras.Sequential(
        [layers.Dense(8, "relu"), layers.Dropout(0.2), layers.BatchNormalization()]
    )


class Gated(layers.Layer):
    """A block of the user's own class."""

    def build(self, shape: Any) -> None:
        self.value = self.add_weight(shape=(shape[-1], 8), name="value")
        self.gate = self.add_weight(shape=(shape[-1], 8), name="gate")
        super().build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        return keras.ops.tanh(x @ self.value) * keras.ops.sigmoid(x @ self.gate)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], 8)


def mixed(depth: int) -> keras.Layer:
    return layers.Dense(8, "relu", dtype=["mixed_float16", "mixed_bfloat16"][depth % 2])


def unlucky(depth: int) -> keras.Layer:
    """Replicate 1 draws weights at depth 2 that no training survives."""
    omen = random.Random(derive(0, Stream.BLOCK, 1, 2)).random()
    huge = keras.initializers.Constant(3e38)
    return layers.Dense(8, kernel_initializer=huge if random.random() == omen else None)


def listed() -> list[keras.Layer]:
    return [layers.Dense(8, "relu"), layers.Dense(6, "tanh"), layers.Dense(8, "relu")]


def network() -> keras.Sequential:
    return keras.Sequential(
        [
            layers.Dense(8, "relu"),
            layers.BatchNormalization(),
            layers.Dense(8, "relu"),
            layers.Dropout(0.1),
            layers.Dense(2, "softmax"),
        ]
    )


def arguments(**changes: Any) -> dict[str, Any]:
    """A small run; anything may be changed."""
    return {
        "block": dense,
        "epochs": 3,
        "batch_size": 16,
        "max_depth": 2,
        "depth_rule": layerwise.FixedDepth(),
        "checkpoint_every": RESTING,
        **changes,
    }


def three_columns(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two moons with a product beside them: of two columns a run would draw pictures."""
    x, y = two_moons(rows, seed)
    return np.column_stack([x, x[:, 0] * x[:, 1]]), y


X, Y = three_columns(60)
TEST = three_columns(20, seed=1)
RATE = {"optimizer": "sgd"}
TUNED = layerwise.FineTune(0.05, epochs=2)
RUNS: dict[str, Callable[[], dict[str, Any]]] = {
    "supervised": lambda: arguments(
        block=normed,
        test_data=TEST,
        score_test_each_stage=True,
        fine_tune=TUNED,
        baseline="quick",
        monitor="loss",
    ),
    "predictor": lambda: arguments(
        objective="reconstruction",
        head="fresh",
        test_data=TEST,
        fine_tune=layerwise.FineTune(0.05, epochs=2, head="fresh"),
    ),
    # `compiled` and not `auto`: see `test_a_frozen_head_leaves_no_program_for_others`.
    "trunk": lambda: arguments(
        objective=layerwise.Reconstruction(of="inputs"),
        block=normed,
        fine_tune=layerwise.FineTune(0.05, epochs=2, when="both"),
    ),
    "search": lambda: arguments(search_fraction=0.5, max_depth=3, cache_dir="cache"),
    "frozen": lambda: arguments(
        head="frozen",
        engine="compiled",
        fine_tune=layerwise.FineTune(1e30, epochs=2),
        test_data=TEST,
    ),
    "fresh": lambda: arguments(head="fresh", block=normed),
    "replicates": lambda: arguments(
        block=unlucky, replicates=2, optimizer="sgd", test_data=TEST, fine_tune=TUNED
    ),
    "list": lambda: arguments(block=listed(), max_depth=9),
    "network": lambda: arguments(block=network()),
    "disk": lambda: arguments(max_depth=3, cache_dir="cache", block=normed),
    "own-class": lambda: arguments(block=lambda depth: Gated()),
    "mixed": lambda: arguments(block=mixed),
    "callbacks": lambda: arguments(
        callbacks=lambda depth: CALLBACKS["together"](), epochs=6, block=normed
    ),
    "window": lambda: arguments(
        window=2, block=normed, objective="reconstruction", cache_dir="cache"
    ),
    "in-step": lambda: arguments(schedule="simultaneous", head="fresh", block=normed),
    "augmented": lambda: arguments(
        augment=layers.GaussianNoise(0.1), objective="contrastive", fine_tune=TUNED
    ),
    "scheduled": lambda: arguments(
        objective=layerwise.Mixed(
            {"supervised": [0, 0.5], layerwise.RBM(visible="gaussian"): [1, 0.5]}
        ),
        block=lambda depth: layers.Dense(4, "sigmoid"),
    ),
    "views": lambda: arguments(
        objective=layerwise.ForwardForward(negatives=2), fine_tune=TUNED, cache_dir="cache"
    ),
    "chains": lambda: arguments(
        objective=layerwise.RBM(2, persistent=True, visible="gaussian", chains=5),
        block=lambda depth: layers.Dense(4, "sigmoid"),
        unlabeled=X[:9] + 1,
    ),
}
STOPS: dict[str, list[tuple[str, int]]] = {
    "supervised": [("pause", 5), ("kept", 3), ("event", 9), ("pause", 2)],
    "predictor": [("keep", 2), ("pause", 4), ("kept", 2), ("event", 10)],
    "trunk": [("kept", 6), ("pause", 2), ("kept", 1), ("pause", 5)],
    "search": [("pause", 4), ("kept", 3), ("pause", 3)],
    "frozen": [("kept", 1), ("pause", 2), ("event", 8)],
    "fresh": [("event", 4), ("pause", 11), ("kept", 1)],
    "replicates": [("pause", 12), ("kept", 3), ("event", 11)],
    "list": [("keep", 1), ("pause", 7), ("kept", 3)],
    "network": [("pause", 10), ("keep", 1)],
    "disk": [("kept", 1), ("keep", 2), ("pause", 4)],
    "own-class": [("pause", 14)],
    "mixed": [("pause", 4), ("kept", 3)],
    "callbacks": [("pause", 4), ("pause", 9), ("pause", 2), ("event", 4)],
    "window": [("pause", 4), ("kept", 2), ("event", 6)],
    "in-step": [("pause", 4), ("kept", 1), ("kept", 2)],
    "augmented": [("pause", 4), ("kept", 2), ("pause", 9)],
    "scheduled": [("pause", 4), ("kept", 2), ("pause", 6)],
    "views": [("pause", 4), ("kept", 2), ("pause", 9)],
    "chains": [("pause", 4), ("kept", 2), ("pause", 6)],
}
"""Where the sessions of each run end; the one after goes to the end."""


def interrupted(
    sessions: Sessions,
    make: Callable[[], dict[str, Any]],
    stops: list[tuple[str, int]],
    *data: Any,
) -> layerwise.TrainResult:
    """Run in sessions that are interrupted; the last one goes to the end."""
    begun = sessions.run(layerwise.train, *data, run_dir="run", stop=stops[0], **make())
    assert begun is None
    for stop in (*stops[1:], None):
        result = sessions.run(layerwise.resume, "run", *data, stop=stop, **make())
        assert (result is not None) is (stop is None), f"{stop} comes after the end"
    assert result is not None
    return result


def is_what_it_is_named(name: str, history: layerwise.History) -> None:
    """Fine-tuning that is kept and one that is not, a replicate that diverges and one that not."""
    if name in ("supervised", "frozen"):
        assert (history.fine_tune or {})["kept"] is (name == "supervised")
    if name == "replicates":
        assert [stage.diverged for stage in history.stages] == [0, 1]


_SLOW = ("window", "augmented", "chains", "scheduled")


@on_jax
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in _SLOW else []) for n in RUNS],
)
def test_a_run_goes_on(sessions: Sessions, name: str) -> None:
    make = RUNS[name]
    whole = layerwise.train(X, Y, **make(), verbose=0)
    result = interrupted(sessions, make, STOPS[name], X, Y)
    assert facts_of(result) == facts_of(whole)
    is_what_it_is_named(name, whole.history)
    assert without_seconds(json.loads(Path("run/history.json").read_text())) == without_seconds(
        result.history.to_dict()
    )
    assert not Path("cache").exists() or not list(Path("cache").iterdir())
    assert not list(Path("run/checkpoints").glob("current-*"))
    if name in ("supervised", "predictor", "replicates"):
        trained = len(sessions.trained)
        again = layerwise.resume("run", X, Y, **make(), verbose=0)
        assert len(sessions.trained) == trained, "a finished run trains nothing"
        assert facts_of(again) == facts_of(whole)


@on_jax
@pytest.mark.parametrize("what", ["event", "pause", "keep", "kept"])
def test_wherever_a_run_is_interrupted(sessions: Sessions, what: str) -> None:
    """One run is interrupted again and again, at every few of the same kind of place."""
    make = lambda: arguments(block=normed, epochs=2, fine_tune=TUNED)  # noqa: E731
    whole = layerwise.train(X, Y, **make(), verbose=0)
    step = {"event": 3, "pause": 4, "keep": 2, "kept": 1}[what]
    sessions.run(layerwise.train, X, Y, run_dir="run", stop=(what, step), **make())
    for n in range(2 * step, 99, step):
        # Restored stages tell their events again; pauses and keeps come of new work alone.
        stop = (what, n if what == "event" else step)
        result = sessions.run(layerwise.resume, "run", X, Y, stop=stop, **make())
        if result is not None:
            break
    assert n >= 4 * step, "it was interrupted three times or more"
    assert result is not None
    assert facts_of(result) == facts_of(whole)
    assert sessions.went_on or what != "pause"


@on_jax
def test_a_run_without_labels_goes_on(sessions: Sessions) -> None:
    make = lambda: arguments(objective="reconstruction", max_depth=3)  # noqa: E731
    whole = layerwise.train(X, **make(), verbose=0)
    result = interrupted(sessions, make, [("pause", 4), ("keep", 2), ("event", 12)], X)
    assert facts_of(result) == facts_of(whole)


@on_jax
def test_a_frozen_head_leaves_no_program_for_others() -> None:
    """An engine that served a run with a frozen head serves any other."""
    engine = make_engine("auto")
    frozen, other = problem(BLOCKS[0], epochs=1), problem(BLOCKS[0], epochs=1)
    assert frozen.head is not None
    frozen.head.trainable = False
    engine.train(frozen, Watch())
    frozen.head.trainable = True
    engine.evaluate(frozen, frozen.train)
    engine.train(other, Watch())


@pytest.mark.engines
def test_a_run_of_keras_own_loop_goes_on(sessions: Sessions) -> None:
    make = lambda: arguments(block=normed, engine="fit", fine_tune=TUNED)  # noqa: E731
    whole = layerwise.train(X, Y, **make(), verbose=0)
    result = interrupted(sessions, make, [("pause", 2), ("kept", 3), ("pause", 1)], X, Y)
    assert facts_of(result) == facts_of(whole)
    assert sessions.went_on == ["stage-0001-0", "fine-tune-0"]


def test_a_callback_that_no_file_keeps_starts_its_stage_again(sessions: Sessions) -> None:
    log = object()
    make = lambda: arguments(callbacks=lambda depth: [Holding(log), Diary()])  # noqa: E731
    whole = layerwise.train(X, Y, **make(), verbose=0)
    assert sessions.run(layerwise.train, X, Y, run_dir="run", stop=("pause", 14), **make()) is None
    notes = [event.text for event in sessions.events if isinstance(event, Noted)]
    assert any("No checkpoint inside this stage: callback.0.held" in text for text in notes)
    result = sessions.run(layerwise.resume, "run", X, Y, **make())
    assert result is not None
    assert facts_of(result) == facts_of(whole)
    assert sessions.trained[-3:] == ["stage-0001-0", "stage-0002-0", "stage-0002-0"]
    assert sessions.went_on == []


def test_weights_on_disk_are_those_of_the_run(sessions: Sessions) -> None:
    make = lambda: arguments(block=normed)  # noqa: E731
    result = interrupted(sessions, make, [("pause", 4)], X, Y)
    assert digest(keras.models.load_model("run/model.keras")) == digest(result.model)
    for line in Path("run/SHA256SUMS").read_text().splitlines():
        sha, name = line.split("  ")
        assert hashlib.sha256((Path("run") / name).read_bytes()).hexdigest() == sha


class Noisy(layerwise.Reconstruction):
    """Draws noise whenever it is asked, also for a score."""

    def loss(self, block: Any, head: Any, x: Any, y: Any, *, seed: Any, training: bool) -> Any:
        noise = keras.random.normal(keras.ops.shape(x), seed=seed)
        return super().loss(block, head, x + noise, y, seed=seed, training=training)


def test_scores_with_noise_are_those_of_the_run(sessions: Sessions) -> None:
    make = lambda: arguments(objective=Noisy())  # noqa: E731
    whole = layerwise.train(X, Y, **make(), verbose=0)
    result = interrupted(sessions, make, [("kept", 1)], X, Y)
    assert facts_of(result) == facts_of(whole)


def test_the_cache_is_empty_after_a_run_that_was_interrupted_late(sessions: Sessions) -> None:
    make = lambda: arguments(cache_dir="cache", fine_tune=TUNED)  # noqa: E731
    interrupted(sessions, make, [("kept", 5)], X, Y)
    assert not list(Path("cache").iterdir())


# --- Found on the way ------------------------------------------------------------------------


class Bare(layers.Layer):
    """As small as Keras allows: no `training`, no `compute_output_shape`."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 8), name="kernel")
        super().build(shape)

    def call(self, x: Any) -> Any:
        return x @ self.kernel


@pytest.mark.engines
@pytest.mark.parametrize(
    "layer", [layers.Conv2D(3, 3), layers.PReLU(), Bare()], ids=lambda layer: type(layer).__name__
)
def test_layers_without_a_training_argument_pass_features_on(
    engines: dict[str, Engine], layer: keras.Layer
) -> None:
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(x))
    found = keras.ops.convert_to_numpy(engines["auto"].forward(layer)(x))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_block_need_not_tell_its_output_shape() -> None:
    how = arguments(block=lambda depth: Bare(), engine="fit", epochs=1)
    layerwise.train(X, Y, verbose=0, **how)


def test_fine_tuning_after_a_schedule() -> None:
    schedule = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 20))
    how = arguments(optimizer=schedule, fine_tune=TUNED, max_depth=1)
    assert layerwise.train(X, Y, verbose=0, **how).history.fine_tune is not None


# --- What is refused -------------------------------------------------------------------------


STARTED: dict[str, Any] = {"max_depth": 3, "optimizer": keras.optimizers.SGD(0.1)}


@pytest.fixture(scope="module")
def halted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted in its third stage."""
    folder = tmp_path_factory.mktemp("halted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        sessions = Sessions(patch)
        how = arguments(**STARTED)
        assert sessions.run(layerwise.train, X, Y, run_dir=folder, stop=("kept", 4), **how) is None
    return folder


def other_x() -> np.ndarray:
    x = X.copy()
    x[7, 1] += 1e-6
    return x


DIFFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "data": ({"x": other_x()}, r"another `data\.fingerprint`: '\w{64}' then, '\w{64}' now"),
    "labels": ({"y": 1 - Y}, r"another `data\.fingerprint`"),
    "split": ({"validation_split": 0.3}, r"`data\.rows\.train`: 48 then, 42 now"),
    "seed": ({"seed": 1}, r"another `seed`: 0 then, 1 now"),
    "epochs": ({"epochs": 4}, r"another `stages\.epochs`: 3 then, 4 now"),
    "batch_size": ({"batch_size": 8}, r"another `stages\.batch size`: 16 then, 8 now"),
    "rate": (
        {"optimizer": keras.optimizers.SGD(0.2)},
        r"another `optimizer`: .*0\.1.* then, .*0\.2.* now",
    ),
    "optimizer": ({"optimizer": "adam"}, r"another `stages\.optimizer`: 'SGD' then, 'Adam' now"),
    "activation": (
        {"block": lambda depth: layers.Dense(8, activation="tanh" if depth == 2 else "relu")},
        r"stage-0002-0: `block` was .*relu.* and is .*tanh",
    ),
    "width": (
        {"block": lambda depth: layers.Dense(9, activation="relu")},
        r"stage-0001-0: `\w+` was .*8.* and is .*9",
    ),
    "head": ({"head": "fresh"}, r"another `head`: 'carry' then, 'fresh' now"),
    "max_depth": ({"max_depth": 4}, r"another `max_depth`: 3 then, 4 now"),
    "monitor": ({"monitor": "loss"}, r"another `monitor`: None then, 'loss' now"),
    "depth_rule": (
        {"depth_rule": layerwise.Plateau(patience=2)},
        r"another `depth_rule`: 'fixed_depth\(keep=best\)' then, 'plateau\(patience=2,.* now",
    ),
    "fine_tune": ({"fine_tune": TUNED}, r"another `fine_tune`: None then, .*0\.05.* now"),
    "replicates": ({"replicates": 2}, r"another `replicates`: 1 then, 2 now"),
    "objective": ({"objective": "reconstruction"}, r"another `stages\.objective`"),
    "on_divergence": ({"on_divergence": "retry"}, r"`on_divergence`: 'stop' then, 'retry' now"),
    "baseline": ({"baseline": "quick"}, r"another `baseline`: 'none' then, 'quick' now"),
}
if "compiled" in KINDS:
    DIFFERENCES["engine"] = ({"engine": "fit"}, r"another `engine`: 'compiled' then, 'fit' now")


@pytest.mark.parametrize("name", DIFFERENCES)
def test_another_run_is_refused(halted: Path, name: str) -> None:
    changes, message = DIFFERENCES[name]
    how = {"x": X, "y": Y, **arguments(**STARTED), **changes}
    with pytest.raises(InputError, match=message) as caught:
        layerwise.resume(halted, how.pop("x"), how.pop("y"), verbose=0, **how)
    told = str(caught.value)
    assert is_short(told), told


def is_short(told: str) -> bool:
    """One clear sentence and what to do, not a wall of text."""
    return len(told) < 700 and "\n" not in told and told.endswith("was started with.")


def test_a_refused_run_goes_on(halted: Path) -> None:
    """After all of the above the run is whole."""
    whole = layerwise.train(X, Y, verbose=0, **arguments(**STARTED))
    result = layerwise.resume(halted, X, Y, verbose=0, **arguments(**STARTED))
    assert facts_of(result) == facts_of(whole)
    with pytest.raises(InputError, match=r"already holds a run.*layerwise resume"):
        layerwise.train(X, Y, run_dir=halted, verbose=0, **arguments(**STARTED))


def stop_in_stage_two(sessions: Sessions, **changes: Any) -> None:
    how = arguments(**changes)
    assert sessions.run(layerwise.train, X, Y, run_dir="run", stop=("pause", 11), **how) is None


def test_another_argument_of_the_objective_is_refused(sessions: Sessions) -> None:
    stop_in_stage_two(sessions, objective=layerwise.Reconstruction())
    other = layerwise.Reconstruction(loss="mean_absolute_error")
    with pytest.raises(InputError, match="objective"):
        layerwise.resume("run", X, Y, verbose=0, **arguments(objective=other))


def test_another_head_is_refused(sessions: Sessions) -> None:
    def heads(activation: str) -> Callable[[int], keras.Layer]:
        return lambda depth: keras.Sequential(
            [layers.Dense(4, activation), layers.Dense(2, "softmax")]
        )

    stop_in_stage_two(sessions, head=heads("relu"))
    with pytest.raises(InputError, match="head"):
        layerwise.resume("run", X, Y, verbose=0, **arguments(head=heads("tanh")))


def test_another_rate_is_refused_before_the_first_checkpoint(sessions: Sessions) -> None:
    how = arguments(optimizer=keras.optimizers.SGD(0.1))
    assert sessions.run(layerwise.train, X, Y, run_dir="run", stop=("event", 1), **how) is None
    other = arguments(optimizer=keras.optimizers.SGD(0.2))
    with pytest.raises(InputError, match="optimizer"):
        layerwise.resume("run", X, Y, verbose=0, **other)


@pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
def test_a_folder_without_a_run_is_refused(there: bool) -> None:
    if there:
        Path("nothing").mkdir()
    with pytest.raises(InputError, match=r"nothing.*(holds no run|Name a folder that exists)"):
        layerwise.resume("nothing", X, Y, verbose=0, **arguments())
    assert Path("nothing").exists() is there
    assert not there or not list(Path("nothing").iterdir())


def test_a_run_that_another_works_on_is_refused(halted: Path) -> None:
    with files.RunLock(halted), pytest.raises(RunLockedError, match=r"in use: process \d+ on"):
        layerwise.resume(halted, X, Y, verbose=0, **arguments(**STARTED))


def rewrite(run: Path, **changes: Any) -> None:
    """Change `run.json` so that its hash fits."""
    facts = {**json.loads((run / "run.json").read_text()), **changes}
    files.write_json(run / "run.json", facts)
    sums = (run / "SHA256SUMS").read_text().splitlines()
    new = f"{files.digest_file(run / 'run.json')}  run.json"
    lines = [new if line.endswith("  run.json") else line for line in sums]
    (run / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def test_a_run_of_another_backend_is_refused(sessions: Sessions) -> None:
    stop_in_stage_two(sessions)
    rewrite(Path("run"), backend="abacus")
    with pytest.raises(InputError, match=r"another `backend`: 'abacus' then, '\w+' now"):
        layerwise.resume("run", X, Y, verbose=0, **arguments())


def test_a_changed_run_json_is_noticed(sessions: Sessions) -> None:
    stop_in_stage_two(sessions)
    text = Path("run/run.json").read_text()
    Path("run/run.json").write_text(text.replace('"max_depth": 2', '"max_depth": 3'))
    with pytest.raises(DamagedError, match=r"run\.json is damaged.*SHA256SUMS"):
        layerwise.resume("run", X, Y, verbose=0, **arguments(max_depth=3))


def test_other_versions_and_cores_are_noted(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on all the same, from where it stood."""
    whole = layerwise.train(X, Y, verbose=0, **arguments())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_facts, "cores", lambda: 999)
        patch.setattr(_facts, "_versions", lambda: {"keras": "0.1"})
        stop_in_stage_two(sessions)
    result = sessions.run(layerwise.resume, "run", X, Y, **arguments())
    notes = [event.text for event in sessions.events if isinstance(event, Noted)]
    assert any("versions {'keras': '0.1'} then" in text for text in notes)
    assert any("'cores': 999} then" in text for text in notes)
    assert result is not None
    assert facts_of(result) == facts_of(whole)
    assert sessions.trained[-1:] == sessions.went_on == ["stage-0002-0"]


# --- Divergence ------------------------------------------------------------------------------


def values() -> tuple[np.ndarray, np.ndarray]:
    """A linear map, on which gradient descent diverges above a sharp learning rate."""
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    return x, x @ np.ones((4, 2), "float32")


class Rates(keras.callbacks.Callback):
    """Writes down each training's learning rate at its start."""

    def __init__(self, rates: list[float]) -> None:
        super().__init__()
        self._seen = rates.append

    def on_train_begin(self, logs: Any = None) -> None:
        self._seen(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def steep(**changes: Any) -> dict[str, Any]:
    """Twice too steep at 0.6 and at 0.3 (depth 2), or at 1.2 and 0.6 (depth 1)."""
    return arguments(
        **{
            "block": lambda depth: layers.Dense(6),
            "optimizer": lambda depth: keras.optimizers.SGD([1.2, 0.6][depth - 1]),
            "on_divergence": "retry",
            "epochs": 15,
            "checkpoint_every": 30.0,
            **changes,
        }
    )


def test_a_stage_that_diverges_is_tried_at_half_the_rate() -> None:
    rates: list[float] = []
    result = layerwise.train(*values(), **steep(callbacks=[Rates(rates)]), verbose=0)
    assert rates == pytest.approx([1.2, 0.6, 0.3, 0.6, 0.3, 0.15])
    stages = result.history.to_dict()["stages"]
    assert [stage["retries"] for stage in stages] == [2, 2]
    assert [stage["stop_reason"] for stage in stages] == ["completed", "completed"]
    assert "message" not in stages[0]
    # The try that counts is the run that began at its rate.
    plain = layerwise.train(
        *values(), **steep(optimizer=keras.optimizers.SGD(0.3), max_depth=1), verbose=0
    )
    assert digest(result.model_at(1)) == digest(plain.model)


def test_a_schedule_is_halved_too() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(1.2, 400)
    rates: list[float] = []
    how = steep(optimizer=keras.optimizers.SGD(schedule), max_depth=1, callbacks=[Rates(rates)])
    result = layerwise.train(*values(), **how, verbose=0)
    assert rates == pytest.approx([1.2, 0.6, 0.3])
    assert result.history.stages[0].retries == 2
    gentle = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.3, 400))
    plain = layerwise.train(*values(), **steep(optimizer=gentle, max_depth=1), verbose=0)
    # A product of a factor and a schedule may round otherwise than the schedule of a product.
    for ours, theirs in zip(result.model.weights, plain.model.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_after_three_retries_it_gives_up() -> None:
    how = steep(optimizer=lambda depth: keras.optimizers.SGD([0.1, 1e30][depth - 1]))
    history = layerwise.train(*values(), **how, verbose=0).history
    last = history.stages[1].to_dict()
    assert (history.selected_depth, last["stop_reason"], last["retries"]) == (1, "diverged", 3)
    assert last["depth"] == 2
    assert last["message"] == "the loss was not finite in epoch 1 at a learning rate of 1.25e+29"
    once = layerwise.train(*values(), **{**how, "on_divergence": "stop"}, verbose=0).history
    assert "learning rate of 1e+30" in (once.stages[1].message or "")
    assert once.stages[1].retries is None


def test_the_error_names_stage_epoch_and_rate() -> None:
    how = arguments(optimizer=keras.optimizers.SGD(1e30))
    with pytest.raises(DivergedError, match=r"(stage|depth) 1.*epoch 1.*1e\+30"):
        layerwise.train(*values(), **how, verbose=0)


def test_all_replicates_may_diverge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many epochs in one call, so that losses after the divergence are in the curves."""
    monkeypatch.setattr("layerwise.engine._session._CALL_SECONDS", 1e9)
    how = arguments(
        optimizer=lambda depth: keras.optimizers.SGD([0.1, 1e30][depth - 1]), replicates=2
    )
    history = layerwise.train(*values(), **how, verbose=0).history
    assert history.stages[1].stop_reason == StopReason.DIVERGED


@pytest.mark.parametrize("stop", [("pause", 60), ("kept", 1), ("keep", 2), ("kept", 6)], ids=str)
def test_a_run_goes_on_within_a_retry(sessions: Sessions, stop: tuple[str, int]) -> None:
    """Interrupted while one runs, and just before and after one is kept that diverged."""
    how = steep(checkpoint_every=RESTING)
    whole = layerwise.train(*values(), **how, verbose=0)
    result = interrupted(sessions, lambda: how, [stop], *values())
    assert facts_of(result) == facts_of(whole)
    assert [name for name in sessions.kept if "scores" not in name] == [
        f"stage-000{depth}-0{retry}" for depth in (1, 2) for retry in ("", "-retry-1", "-retry-2")
    ]


class Overflowing(layers.Dense):
    """A statistic that overflows in the second step, of which the output knows nothing."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.power = self.add_weight(shape=(), initializer="ones", trainable=False, name="power")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.power.assign(self.power * 1e25)
        return super().call(x)


OVERFLOWING = Block("overflowing", lambda: Overflowing(8, activation="relu"))


@on_jax
@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 2), (1e9, 3)])
def test_weights_that_are_not_finite_are_found_within_one_call(
    monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int
) -> None:
    """While the loss stays finite. The first call is one step, the second ends the training."""
    from layerwise.engine import _rows, _session

    monkeypatch.setattr(_session, "_CALL_SECONDS", seconds)
    calls: list[int] = []
    call = _rows.Resident.train
    monkeypatch.setattr(
        _rows.Resident,
        "train",
        lambda self, *a: (calls.append(1), call(self, *a))[1],
    )
    stage = problem(OVERFLOWING, epochs=1)
    watch = Notes()
    result = make_engine("compiled").train(stage, watch)
    assert result.stop_reason == StopReason.DIVERGED
    assert result.message.startswith("the weights were not finite in epoch 1 at a learning rate of")
    assert len(calls) == 2
    assert len(watch.taken) == 1, "nothing is to be gone on with from there"
    assert all(math.isfinite(loss) for loss in result.curves.get("loss", []))
    assert (len(result.curves.get("loss", [])) == 1) is (steps == 3)


@pytest.mark.engines
def test_weights_that_are_not_finite_are_found_within_one_epoch() -> None:
    result = make_engine("fit").train(problem(OVERFLOWING, epochs=5), Watch())
    assert (result.stop_reason, result.epochs) == (StopReason.DIVERGED, 1)
    assert "the weights were not finite in epoch 1" in result.message
    assert math.isfinite(result.curves["loss"][0])


@pytest.mark.engines
def test_no_checkpoint_hides_that_a_stage_diverged() -> None:
    """A process that dies after the last epoch must not come back to an early stop."""
    watch = Notes()
    make_engine("fit").train(problem(OVERFLOWING, epochs=5), watch)
    start = watch.taken[-1] if watch.taken else None
    again = make_engine("fit").train(problem(OVERFLOWING, epochs=5), Notes(start))
    assert again.stop_reason == StopReason.DIVERGED


class Cliff(layers.Layer):
    """One feature more than its layer has, which is minus infinity."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.inner = layers.Dense(7, "relu")

    def build(self, shape: Any) -> None:
        self.inner.build(shape)
        super().build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        output = self.inner(x)
        return keras.ops.concatenate([output, keras.ops.full_like(output[:, :1], -np.inf)], -1)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], 8)


def cliff(**changes: Any) -> dict[str, Any]:
    """Stage 2 is sound, as its head cuts off what is below 0; its features are not finite."""
    return arguments(
        **{
            "block": lambda depth: Cliff() if depth == 2 else dense(depth),
            "head": lambda depth: keras.Sequential([layers.ReLU(), layers.Dense(2, "softmax")]),
            "max_depth": 3,
            **changes,
        }
    )


def test_features_that_are_not_finite_end_the_next_stage(sessions: Sessions) -> None:
    whole = layerwise.train(X, Y, **cliff(), verbose=0)
    last = whole.history.stages[2]
    assert [s.stop_reason.value for s in whole.history.stages] == [*["completed"] * 2, "diverged"]
    assert last.message == "the features that the block of depth 2 gives are not finite"
    assert whole.selected_depth in (1, 2)
    result = interrupted(sessions, cliff, [("kept", 4)], X, Y)
    assert facts_of(result) == facts_of(whole)


def test_a_retry_does_not_hide_that_features_are_not_finite() -> None:
    history = layerwise.train(X, Y, **cliff(on_divergence="retry"), verbose=0).history
    assert "the block of depth 2" in (history.stages[2].message or "")


class FirstLayer:
    """An objective that sees the first layer of a block alone."""

    def head(self, feature_shape: Any, targets: Any) -> None:
        return None

    def loss(self, block: Any, head: Any, x: Any, y: Any, *, seed: Any, training: bool) -> Any:
        first = block.layers[0] if isinstance(block, keras.Sequential) else block
        return keras.ops.mean(first(x, training=training)), {}


def blown_up(depth: int) -> keras.Layer:
    """Layers of Keras' own, so that features are found again on disk; those of 2 are infinite."""
    factors = [layers.Rescaling(1e38), layers.Rescaling(1e38)] if depth == 2 else []
    return keras.Sequential([layers.Dense(8, kernel_initializer="ones"), *factors])


def test_features_on_disk_that_are_not_finite_are_noticed(sessions: Sessions) -> None:
    make = lambda: arguments(  # noqa: E731
        objective=FirstLayer(), block=blown_up, max_depth=3, cache_dir="cache", epochs=1
    )
    whole = layerwise.train(X, **make(), verbose=0)
    assert "the block of depth 2" in (whole.history.stages[2].message or "")
    assert sessions.run(layerwise.train, X, run_dir="run", stop=("event", 10), **make()) is None
    assert list(Path("cache").iterdir())
    result = layerwise.resume("run", X, **make(), verbose=0)
    assert facts_of(result) == facts_of(whole)


def test_a_stage_whose_predictor_diverges_is_never_chosen() -> None:
    how = arguments(objective=FirstLayer(), block=blown_up)
    history = layerwise.train(X, Y, **how, verbose=0).history
    assert history.stages[1].stop_reason == StopReason.DIVERGED


# --- How often, how large --------------------------------------------------------------------


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [0.0, 0.05, 3.0])
def test_how_often_a_checkpoint_is_written(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    """At most once in 30 seconds, and at most 2% of the time."""
    clock = Clock()
    monkeypatch.setattr(_journal, "time", clock)
    monkeypatch.setattr(_pace, "time", clock)
    written: list[float] = []

    def write_down(snapshot: Snapshot, seconds: float) -> None:
        written.append(clock.now)
        clock.now += cost

    watch = KeptWatch(lambda event: None, None, write_down, 30.0)
    while len(written) < 20:
        watch.moves()
        clock.now += 0.1
        watch.pause(Snapshot)
    gaps = np.diff([1000.0, *written])
    assert gaps.min() > 30 - 1e-6
    # Each one is paid for by the wait after it, which the last one has still before it.
    assert (len(written) - 1) * cost <= 0.02 * (written[-1] - written[0])
    # It is no less often than that either: the step in progress may end first.
    assert gaps.max() < max(30, 51 * cost) + 0.2


def test_a_slow_disk_is_not_asked_often_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow checkpoint is enough, and a later quick one does not bring the pace back."""
    clock, costs = Clock(), iter([1.0, 0.1, 0.1, 0.1])
    monkeypatch.setattr(_journal, "time", clock)
    monkeypatch.setattr(_pace, "time", clock)
    written: list[float] = []

    def write_down(snapshot: Snapshot, seconds: float) -> None:
        written.append(clock.now)
        clock.now += next(costs)

    watch = KeptWatch(lambda event: None, None, write_down, 10.0)
    while len(written) < 4:
        clock.now += 1
        watch.pause(Snapshot)
    assert np.diff(written).tolist() == pytest.approx([51, 51, 51], abs=1.01)


def test_the_newest_state_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption writes what stands, unless the state moves or that was written already."""
    written: list[Snapshot] = []
    watch = KeptWatch(lambda event: None, None, lambda s, seconds: written.append(s), 1e9)
    watch.pause(Snapshot)
    watch.flush()
    watch.flush()
    assert len(written) == 1
    watch.pause(Snapshot)
    watch.moves()
    watch.flush()
    assert len(written) == 1


def test_what_stood_on_another_stage_is_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage 1 is lost and comes out with other bits: stage 2 was trained on features of the old."""
    layerwise.train(X, Y, run_dir="run", verbose=0, **arguments())
    for lost in Path("run/checkpoints").glob("stage-0001-0*"):
        files.remove(lost)
    seed = Replica.seed
    monkeypatch.setattr(Replica, "seed", lambda self, *path: seed(self, *path) + 1)
    events: list[Event] = []
    layerwise.resume("run", X, Y, verbose=0, listeners=events.append, **arguments())
    notes = [event.text for event in events if isinstance(event, Noted)]
    assert "What stage-0002-0 stands on has changed: it is trained again." in notes


def test_a_quick_run_writes_nothing_inside_its_stages(sessions: Sessions) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeptWatch, "flush", lambda self: pytest.fail("a checkpoint was written"))
        layerwise.train(X, Y, run_dir="run", verbose=0, **arguments(checkpoint_every=30.0))


def resident() -> float:
    """This process' memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def many_stages(count: int, patch: pytest.MonkeyPatch) -> tuple[list[float], list[int]]:
    """Memory at every tenth stage of a run, and how many programs were lowered at each."""
    import jax

    from layerwise.engine._compiled import CompiledEngine

    lowered, memory, programs = [0], [], []

    def listener(event: str, seconds: float, **more: Any) -> None:
        lowered[0] += event == "/jax/core/compile/jaxpr_to_mlir_module_duration"

    @contextmanager
    def watching(verbose: Any) -> Iterator[Listener]:
        def listen(event: Event) -> None:
            if isinstance(event, StageFinished):
                programs.append(lowered[0])
                if len(programs) % 10 == 0:
                    gc.collect()
                    memory.append(resident())

        yield listen

    patch.setattr(_run, "display", watching)
    # One that knows no program from another test.
    engine = CompiledEngine()
    patch.setattr(_arguments, "make_engine", lambda *_: engine)
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        how = arguments(epochs=1, max_depth=count, checkpoint_every=30.0)
        layerwise.train(X, Y, run_dir="run", **how)
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    return memory, programs


def slope(memory: list[float]) -> float:
    """MB a stage, over all but the first third, while Python fills its pools."""
    rest = memory[len(memory) // 3 :]
    return float(np.polyfit(10 * np.arange(len(rest)), rest, 1)[0])


on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@pytest.mark.slow
@on_jax
@on_linux
def test_many_stages_compile_once_and_leave_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, programs = many_stages(60, monkeypatch)
    assert len(programs) == 60
    assert programs[2] > 0
    assert programs[2] == programs[-1], "no new program after the third stage"
    assert slope(memory) < 1


@on_jax
@on_linux
@pytest.mark.faults
def test_two_hundred_stages_leave_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, programs = many_stages(200, monkeypatch)
    found = slope(memory)
    good = found < 1 and programs[2] == programs[-1]
    print(  # noqa: T201 - a line of the table of `make test-faults`
        f"FAULTS | stages of one shape in one process | 200 | {found:.3f} MB a stage, "
        f"{programs[-1] - programs[2]} programs compiled after the third: "
        f"{'good' if good else 'BAD'}"
    )
    assert good
