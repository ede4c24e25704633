"""What a stage cost: seconds by what they went to, operations and bytes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise.engine import Problem, make_engine
from layerwise.growth import Frozen
from layerwise.peak import forget_peak, peak_bytes
from layerwise.training import _meter
from layerwise.training._meter import Meter, together
from layerwise.training._records import _mean_curves

X = np.random.default_rng(0).random((240, 100), dtype=np.float32)
Y = np.arange(240) % 4


HOW: dict[str, Any] = {
    "block": lambda depth: layers.Dense(64, "relu"),
    "optimizer": keras.optimizers.SGD(0.1),
    "epochs": 2,
    "batch_size": 30,
    "max_depth": 2,
    "validation_split": 0.25,
    "depth_rule": layerwise.FixedDepth("last"),
    "head": "fresh",
    "verbose": 0,
}
"""Two stages of 64 units on 180 rows, 60 to validate, in batches of 30."""


def grown(folder: Path | None, **changes: Any) -> layerwise.TrainResult:
    return layerwise.train(X, Y, run_dir=folder, **{**HOW, **changes})


def products(rows: int, *shapes: tuple[int, int]) -> int:
    """Operations of matrix products of so many rows with kernels of these shapes."""
    return sum(2 * rows * a * b for a, b in shapes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> layerwise.TrainResult:
    return grown(tmp_path_factory.mktemp("ledger") / "run")


def test_operations_are_those_of_the_matrix_products(run: layerwise.TrainResult) -> None:
    """In training a kernel meets the rows twice, its inputs' gradient only where they move.

    What is not a product (biases, activations, the loss, the update) is a few percent more.
    """
    head = (64, 4)
    first = 2 * 180 * 2 * (2 * 100 * 64 + 3 * 64 * 4) + 2 * products(60, (100, 64), head)
    second = 2 * 180 * 2 * (2 * 64 * 64 + 3 * 64 * 4) + 2 * products(60, (64, 64), head)
    # To train the second, every row passes the first block once.
    second += products(240, (100, 64))
    counted = [stage.ledger["operations"] for stage in run.history.stages]
    assert counted == pytest.approx([first, second], rel=0.10)
    assert all(c > e for c, e in zip(counted, (first, second), strict=True))


def test_both_engines_count_alike(run: layerwise.TrainResult, tmp_path: Path) -> None:
    other = grown(tmp_path / "run", engine="fit")
    for one, two in zip(run.history.stages, other.history.stages, strict=True):
        assert one.ledger["operations"] == two.ledger["operations"]


def test_convolutions_count_as_they_are_written(tmp_path: Path) -> None:
    """Not as they are computed: in loops that XLA counts once, and with fewer multiplications.

    The five products of a step make nearly all of it: two forwards, two gradients of kernels, one
    of what is between them.
    """
    rows, block = np.zeros((60, 12, 12, 32), np.float32), layers.Conv2D(64, 3, padding="same")
    block = keras.Sequential([block, layers.Conv2D(32, 3, padding="same")])
    shape = {"block": lambda depth: block, "max_depth": 1, "validation_split": 0}
    grown = layerwise.train(rows, Y[:60], run_dir=tmp_path / "run", **{**HOW, **shape})
    # Three times twelve places along each side, without the two beyond the edges.
    product = products(60 * 34 * 34, (32, 64))
    assert grown.history.stages[0].ledger["operations"] == pytest.approx(2 * 5 * product, rel=0.05)


def test_seconds_are_told_apart_and_make_no_more_than_the_whole(
    run: layerwise.TrainResult,
) -> None:
    first, second = run.history.stages
    assert set(first.ledger["seconds"]) == {"compiling", "training", "scoring"}
    assert set(second.ledger["seconds"]) == {"caching", "compiling", "training", "scoring"}
    for stage in run.history.stages:
        assert 0 < sum(stage.ledger["seconds"].values()) <= stage.seconds


def test_bytes_of_features(run: layerwise.TrainResult) -> None:
    assert [stage.ledger["feature_bytes"] for stage in run.history.stages] == [0, 240 * 64 * 4]


def test_nobody_counts_where_nobody_reads() -> None:
    ledger = grown(None).history.stages[0].ledger
    assert ledger["operations"] is None
    assert ledger["matrix_rate"] is None


def test_the_rate_that_stages_are_measured_against_is_that_of_numpy(
    run: layerwise.TrainResult,
) -> None:
    """Within a factor of 30: other work, other libraries, and flags that hinder the compiler."""
    a, best = np.ones((1024, 1024), np.float32), np.inf
    for _ in range(3):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    rates = {stage.ledger["matrix_rate"] for stage in run.history.stages}
    assert len(rates) == 1
    assert 1 / 30 < rates.pop() * best / (2 * 1024**3) < 30


def test_a_frame_has_a_column_for_each_part(run: layerwise.TrainResult) -> None:
    frame = run.history.to_frame()
    assert {"seconds.training", "operations", "feature_bytes", "peak_bytes"} <= set(frame.columns)


def test_a_resumed_run_keeps_the_ledger_of_stages_it_did_not_train(tmp_path: Path) -> None:
    before = grown(tmp_path / "run")
    after = layerwise.resume(tmp_path / "run", X, Y, **HOW)
    assert [s.ledger for s in after.history.stages] == [s.ledger for s in before.history.stages]


def a_meter(**changes: Any) -> Meter:
    return Meter(make_engine("auto"), **changes)


def test_a_span_inside_another_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = a_meter()
    with meter.spent_on("training"):
        now[0] += 2.0
        with meter.spent_on("caching"):
            now[0] += 5.0
        now[0] += 3.0
    assert meter.read()["seconds"] == {"caching": 5.0, "compiling": 0.0, "training": 5.0}


def test_compiling_inside_an_inner_span_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, compiled = [100.0], [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_meter, "compile_seconds", lambda: compiled[0])

    def passes(seconds: float, compiling: float) -> None:
        now[0] += seconds
        compiled[0] += compiling

    meter = a_meter()
    with meter.spent_on("training"):
        passes(4.0, compiling=1.0)
        with meter.spent_on("caching"):
            passes(5.0, compiling=2.0)
    assert meter.read()["seconds"] == {"caching": 3.0, "compiling": 3.0, "training": 3.0}


def test_compiling_is_no_training() -> None:
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX says what it compiles")
    import jax

    meter = a_meter()
    with meter.spent_on("training"):
        # A shape that nothing else here has.
        jax.jit(lambda a: jax.numpy.sin(a @ a.T).sum())(np.ones((7, 913), np.float32))
    seconds = meter.read()["seconds"]
    assert seconds["compiling"] > 0
    assert seconds["training"] >= 0


def test_what_nobody_can_count_is_said_to_be_unknown() -> None:
    class Silent:
        name = "silent"

        def operations(self, problem: Problem) -> None:
            return None

        def forward_operations(self, layer: Any, shape: Any, dtype: str) -> None:
            return None

    meter = Meter(Silent(), counts=True)  # type: ignore[arg-type]
    assert meter.read()["operations"] == 0
    meter.passed(Frozen(layers.Identity()), (3,), "float32", 5)
    assert meter.read()["operations"] is None


def test_one_layer_on_rows_of_two_shapes() -> None:
    """What was counted for one shape is not taken for another."""
    if keras.backend.backend() != "jax":
        pytest.skip("only JAX counts")
    engine, layer = make_engine("compiled"), layers.Dense(4, use_bias=False)
    layer.build((None, 3))
    for shape, products in (((3,), 12), ((7, 3), 84), ((3,), 12)):
        counted = engine.forward_operations(layer, shape, "float32")
        assert counted == pytest.approx(2 * products, rel=0.1)


def test_ledgers_of_replicates_together() -> None:
    one = {"seconds": {"training": 1.0}, "operations": 5.0, "matrix_rate": None,
           "feature_bytes": 3, "peak_bytes": None}  # fmt: skip
    two = {"seconds": {"training": 2.0, "caching": 1.0}, "operations": 6.0, "matrix_rate": 9.0,
           "feature_bytes": 2, "peak_bytes": 7}  # fmt: skip
    assert together([one, two]) == {
        "seconds": {"training": 3.0, "caching": 1.0}, "operations": 11.0, "matrix_rate": 9.0,
        "feature_bytes": 3, "peak_bytes": 7,
    }  # fmt: skip
    assert together([one, {**two, "operations": None}])["operations"] is None


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    if not forget_peak():
        pytest.skip("this system does not measure the peak of memory")
    before = peak_bytes()
    assert before is not None
    np.ones(50_000_000, np.float64).sum()
    risen = peak_bytes()
    assert risen is not None
    assert risen - before > 300_000_000
    assert forget_peak()
    after = peak_bytes()
    assert after is not None
    assert risen - after > 300_000_000


def test_curves_of_replicates_of_which_one_broke_in_its_first_epoch() -> None:
    """Whether an epoch ends before a divergence is seen is a matter of time."""
    broken = {"loss": [3.0, 1.0], "val_loss": [4.0, 2.0]}
    for curves in ([broken, {}], [{}, broken]):
        assert _mean_curves(curves) == broken
    other = {"loss": [1.0], "val_loss": [2.0]}
    assert _mean_curves([broken, other]) == {"loss": [2.0, 1.0], "val_loss": [3.0, 2.0]}
