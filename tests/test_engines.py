"""Both engines against each other, against Keras' own training, and on every backend."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from layerwise.datasets import Split
from layerwise.engine import Engine, Watch, devices, make_engine, order
from layerwise.errors import InputError
from layerwise.growth import layer_key
from layerwise.history import StopReason
from stages import BATCH, BLOCKS, OBJECTIVES, OPTIMIZERS, ROWS, Block, problem, rows, weights_of

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="compares the JAX engine")

# XLA may fuse the same operations in another order inside a loop. On the machines seen so far the
# engines agree to the last bit; the tolerance is 8 units in the last place of weights of size 1.
ULPS = 8 * float(np.finfo("float32").eps)


ignore = Watch()
"""Listens to nothing."""


FIRST = ("values", "reconstruct-features", "reconstruct-inputs")


def _pair(block: Block, objective: str) -> Any:
    """Images are slow to compile: most objectives meet them in `make test-slow` alone."""
    slow = block.name == "convolution" and objective not in FIRST
    marks = [pytest.mark.slow] if slow else []
    return pytest.param(block, objective, marks=marks, id=f"{block}-{objective}")


ALL_PAIRS = [*(pytest.param(block, "classes", id=f"{block}-classes") for block in BLOCKS)] + [
    _pair(block, name)
    for name, goal in list(OBJECTIVES.items())[1:]
    for block in BLOCKS
    if block.name in goal.blocks
]
"""Every block, and every objective on vectors and on images, where it takes them."""


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    """One engine of each kind, so that tests share compiled programs as a run's stages do."""
    auto = make_engine("auto")
    return {"auto": auto, "compiled": auto, "fit": make_engine("fit")}


@pytest.mark.engines
@pytest.mark.parametrize(("block", "objective"), ALL_PAIRS)
def test_a_stage_trains_on_this_backend(
    engines: dict[str, Engine], block: Block, objective: str
) -> None:
    """Every variable that can have a gradient moves, and the loss falls."""
    engine = engines["auto"]
    stage = problem(block, objective, epochs=12)
    before = [
        np.array(keras.ops.convert_to_numpy(v.value)) for v in stage.model.trainable_variables
    ]
    stage.model.rewind()
    loss = engine.evaluate(stage, stage.train)["loss"]
    result = engine.train(stage, ignore)
    after = [keras.ops.convert_to_numpy(v.value) for v in stage.model.trainable_variables]
    for variable, old, new in zip(stage.model.trainable_variables, before, after, strict=True):
        moved = np.abs(new - old).max() > 0
        # Softmax over attention scores does not depend on a constant added by the key's bias.
        assert moved or "key/bias" in variable.path, variable.path
    stage.model.rewind()
    assert engine.evaluate(stage, stage.train)["loss"] < loss
    assert result.stop_reason == StopReason.COMPLETED
    assert result.epochs == 12
    assert {"loss", "val_loss"} <= set(result.curves)
    assert all(len(curve) == 12 for curve in result.curves.values())


@on_jax
@pytest.mark.parametrize(("block", "objective"), ALL_PAIRS)
def test_engines_end_with_equal_weights(
    engines: dict[str, Engine], block: Block, objective: str
) -> None:
    _compare_engines(engines, block, objective, "adam", weights=False)


@on_jax
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("weights", [False, True], ids=["unweighted", "weighted"])
def test_engines_agree_for_every_optimizer(
    engines: dict[str, Engine], optimizer: str, weights: bool
) -> None:
    """Dropout, BatchNorm, a partial batch, schedules, decay, clipping, EMA, sample weights."""
    _compare_engines(engines, BLOCKS[2], "classes", optimizer, weights=weights)


def _compare_engines(
    engines: dict[str, Engine], block: Block, objective: str, optimizer: str, *, weights: bool
) -> None:
    ends, curves, scores = [], [], []
    for name in ("compiled", "fit"):
        stage = problem(block, objective, optimizer, epochs=3, weights=weights)
        engine = engines[name]
        curves.append(engine.train(stage, ignore).curves)
        scores.append(engine.evaluate(stage, stage.train))
        ends.append(weights_of(stage))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ULPS)
    assert set(curves[0]) == set(curves[1])
    for name, values in curves[0].items():
        np.testing.assert_allclose(values, curves[1][name], rtol=1e-5, err_msg=name)
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


@pytest.mark.engines
@pytest.mark.parametrize("name", ["auto", "fit"])
def test_equals_plain_keras_in_the_same_batch_order(engines: dict[str, Engine], name: str) -> None:
    """A stage is what a user would get from `train_on_batch` on a plain Sequential.

    Without Dropout elsewhere: PyTorch draws it from a global stream, TensorFlow by the graph.
    """
    block = BLOCKS[2] if keras.backend.backend() == "jax" else NORM
    ours, theirs = problem(block), problem(block)
    engines[name].train(ours, ignore)
    plain = keras.Sequential([theirs.block, theirs.head])
    plain.compile(OPTIMIZERS["adam"](), loss="sparse_categorical_crossentropy")
    for epoch in range(2):
        permutation = order(theirs.seed, epoch, ROWS)
        for start in range(0, ROWS, BATCH):
            batch = permutation[start : start + BATCH]
            plain.train_on_batch(theirs.train.x[batch], theirs.train.y[batch])
    for a, b in zip(weights_of(ours), weights_of(theirs), strict=True):
        # TensorFlow and PyTorch choose other kernels for another graph: a few roundings a step.
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


NORM = Block(
    "norm",
    lambda: keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.BatchNormalization()]),
)


@pytest.mark.engines
@pytest.mark.parametrize("name", ["auto", "fit"])
def test_the_same_seed_gives_the_same_weights(engines: dict[str, Engine], name: str) -> None:
    """Dropout included, whatever was drawn before; another seed gives others."""
    ends = []
    for seed in (3, 3, 4):
        stage = problem(BLOCKS[2], seed=seed)
        engines[name].train(stage, ignore)
        ends.append(weights_of(stage))
    for a, b in zip(ends[0], ends[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(ends[0][0], ends[2][0])


@pytest.mark.engines
def test_evaluation_equals_keras_evaluate(engines: dict[str, Engine]) -> None:
    stage = problem(BLOCKS[2])
    plain = keras.Sequential([stage.block, stage.head])
    plain.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    theirs = plain.evaluate(stage.train.x, stage.train.y, verbose=0, return_dict=True)
    ours = engines["auto"].evaluate(stage, stage.train)
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_order_is_a_permutation_of_its_own_for_every_epoch() -> None:
    orders = [order(7, epoch, 50) for epoch in range(3)]
    assert all(sorted(o.tolist()) == list(range(50)) for o in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[2], order(7, 2, 50))
    assert not np.array_equal(orders[0], order(8, 0, 50))


@on_jax
def test_slices_and_many_epochs_in_a_call_change_nothing() -> None:
    """However the steps are dealt to calls, the weights are the same to the bit."""
    from layerwise.engine import _session as _compiled

    ends = []
    for seconds in (0.0, 1e9):
        stage = problem(BLOCKS[2], epochs=5)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_compiled, "_CALL_SECONDS", seconds)
            make_engine("compiled").train(stage, ignore)
        ends.append(weights_of(stage))
    for single, together in zip(*ends, strict=True):
        np.testing.assert_array_equal(single, together)


@on_jax
def test_one_program_serves_all_stages_of_a_shape() -> None:
    """The second stage of the same shape compiles nothing."""
    import jax

    engine = make_engine("compiled")
    for block in (BLOCKS[2], BLOCKS[6]):
        same = Block("same", block.make, (8,) if block.shape == (6,) else block.shape)
        first = problem(same)
        goal = first.objective
        engine.train(first, ignore)
        engine.evaluate(first, first.train)
        with jax.log_compiles(True), pytest.MonkeyPatch.context() as patch:
            second = problem(same, seed=4)
            object.__setattr__(second, "objective", goal)
            patch.setattr(jax.stages.Lowered, "compile", _no_compiling)
            started = _count_traces(engine)
            engine.train(second, ignore)
            engine.evaluate(second, second.train)
            assert _count_traces(engine) == started
        assert not np.array_equal(weights_of(first)[0], weights_of(second)[0])


def _no_compiling(*_: object, **__: object) -> None:
    raise AssertionError("compiled again")


def _count_traces(engine: object) -> list[int]:
    from layerwise.engine._program import Program

    remembered = engine._programs.values()  # type: ignore[attr-defined]
    programs = [program for program, _ in remembered if isinstance(program, Program)]
    return [p.train._cache_size() + p.evaluate._cache_size() for p in programs]


@pytest.mark.engines
@pytest.mark.parametrize("name", ["auto", "fit"])
def test_early_stopping_ends_the_stage_and_restores_the_best(
    engines: dict[str, Engine], name: str
) -> None:
    stop = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=1, restore_best_weights=True, min_delta=10.0
    )
    stage = problem(BLOCKS[0], epochs=8, callbacks=[stop])
    untrained = problem(BLOCKS[0], epochs=1)
    engine = engines[name]
    result = engine.train(stage, ignore)
    assert result.stop_reason == StopReason.EARLY_STOPPING
    assert result.epochs == 2
    # Nothing gains 10 in loss, so the best epoch is the first: one epoch alone must equal it.
    engine.train(untrained, ignore)
    for a, b in zip(weights_of(stage), weights_of(untrained), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ULPS)


@pytest.mark.engines
@pytest.mark.parametrize("name", ["auto", "fit"])
def test_callbacks_see_every_epoch_and_may_change_the_learning_rate(
    engines: dict[str, Engine], name: str
) -> None:
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            seen.append((epoch, sorted(logs or {}), rate))

    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    stage = problem(BLOCKS[0], epochs=3, callbacks=[schedule, Watch()])
    engines[name].train(stage, ignore)
    assert [epoch for epoch, _, _ in seen] == [0, 1, 2]
    names = {"accuracy", "loss", "val_accuracy", "val_loss"}
    # Keras' scheduler adds the learning rate to the logs.
    assert all(names <= set(logs) for _, logs, _ in seen)
    assert [rate for _, _, rate in seen] == pytest.approx([0.1, 0.05, 0.1 / 3])


@on_jax
def test_callbacks_change_nothing_about_the_result(engines: dict[str, Engine]) -> None:
    """With a callback the program returns after every epoch; the weights are the same bits."""
    plain, watched = problem(BLOCKS[2]), problem(BLOCKS[2], callbacks=[keras.callbacks.Callback()])
    for stage in (plain, watched):
        engines["compiled"].train(stage, ignore)
    for a, b in zip(weights_of(plain), weights_of(watched), strict=True):
        np.testing.assert_array_equal(a, b)


@on_jax
def test_learning_rate_changes_reach_both_engines_alike(engines: dict[str, Engine]) -> None:
    ends = []
    for name in ("compiled", "fit"):
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
        stage = problem(BLOCKS[2], epochs=4, callbacks=[schedule])
        engines[name].train(stage, ignore)
        ends.append(weights_of(stage))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ULPS)


@on_jax
def test_a_callback_inside_epochs_is_refused_with_the_reason() -> None:
    stage = problem(BLOCKS[0], callbacks=[keras.callbacks.TerminateOnNaN()])
    with pytest.raises(InputError, match=r'TerminateOnNaN uses on_.*engine="fit"'):
        make_engine("compiled").train(stage, ignore)


@pytest.mark.engines
@pytest.mark.parametrize("name", ["auto", "fit"])
def test_divergence_is_noticed_and_named(engines: dict[str, Engine], name: str) -> None:
    stage = problem(BLOCKS[0], "values", epochs=50)
    stage.optimizer.learning_rate = 1e30
    result = engines[name].train(stage, ignore)
    assert result.stop_reason == StopReason.DIVERGED
    assert result.epochs < 50
    assert "epoch 1" in result.message
    assert "1e+30" in result.message


@pytest.mark.engines
def test_forward_is_inference_mode(engines: dict[str, Engine]) -> None:
    """Dropout is inert and BatchNorm uses its statistics: NumPy in float64 says what comes."""
    stage = problem(BLOCKS[2], epochs=3)
    engine = engines["auto"]
    engine.train(stage, ignore)
    kernel, bias, gamma, beta, mean, variance = (
        keras.ops.convert_to_numpy(w.value).astype("float64") for w in stage.block.weights
    )
    x = rows((6,)).x
    hidden = np.maximum(x.astype("float64") @ kernel + bias, 0)
    wanted = gamma * (hidden - mean) / np.sqrt(variance + 1e-3) + beta
    got = np.asarray(engine.forward(stage.block)(x))
    # One matrix product of 6 terms and a normalization in float32.
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.engines
def test_stateful_metrics_equal_keras(tmp_path: object) -> None:
    """An AUC is no mean over batches; the engine must keep its state over the epoch."""
    from layerwise.objectives import Supervised

    stage = problem(BLOCKS[0], epochs=3)
    goal = Supervised(metrics=["auc", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")])
    stage = type(stage)(
        **{
            name: getattr(stage, name)
            for name in ("block", "head", "targets", "train", "batch_size", "epochs", "seed")
        },
        objective=goal,
        validation=None,
        optimizer=OPTIMIZERS["adam"](),
    )
    engine = make_engine("auto")
    engine.train(stage, ignore)
    ours = engine.evaluate(stage, stage.train)
    plain = keras.Sequential([stage.block, stage.head])
    prediction = plain.predict(stage.train.x, verbose=0)
    auc, top2 = keras.metrics.AUC(), keras.metrics.SparseTopKCategoricalAccuracy(2)
    auc.update_state(keras.ops.one_hot(stage.train.y, 3), prediction)
    top2.update_state(stage.train.y, prediction)
    assert ours["auc"] == pytest.approx(float(auc.result()), abs=1e-5)
    assert ours["top2"] == pytest.approx(float(top2.result()), abs=1e-6)


@pytest.mark.engines
def test_every_backend_tells_its_devices() -> None:
    """Those that the backend computes on; here there is one or more, the processor at least."""
    names = devices()
    assert names
    assert all(name.partition(":")[0] in ("cpu", "gpu", "cuda") for name in map(str.lower, names))


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="about other backends")
@pytest.mark.engines
def test_compiled_is_refused_elsewhere() -> None:
    with pytest.raises(InputError, match="KERAS_BACKEND to jax"):
        make_engine("compiled")


def test_split_counts_rows_of_nested_arrays() -> None:
    assert Split({"a": np.zeros((3, 2)), "b": np.zeros((3,))}).rows == 3


def graph(activation: str = "relu", skip: bool = True) -> keras.Model:
    x = keras.Input((3,))
    inner = layers.Dense(3, activation)(x)
    return keras.Model(x, layers.add([layers.Dense(3)(inner), x if skip else inner]))


def test_blocks_that_are_graphs_share_a_program_if_they_are_alike() -> None:
    """Whatever their layers are called. What was registered under a class' own name by somebody
    else is told by its module."""
    key = layer_key(graph())
    assert key is not None
    assert layer_key(graph()) == key
    others = [graph("tanh"), graph(skip=False), keras.Sequential([keras.Input((3,)), graph()])]
    assert len({key, *map(layer_key, others)}) == 4
    own = keras.saving.register_keras_serializable("mine")(type("Own", (layers.Dense,), {}))
    x = keras.Input((3,))
    assert layer_key(keras.Model(x, own(3)(x))) is None
    assert layer_key(keras.Model(x, layers.Lambda(lambda y: 2 * y)(x))) is None


def test_what_may_move_is_part_of_the_key() -> None:
    stage = problem(BLOCKS[0])
    key = stage.key()
    stage.head.trainable = False
    frozen = stage.key()
    stage.head.trainable = True
    assert (stage.key(), frozen == key) == (key, False)


def test_another_learning_rate_is_the_same_program(engines: dict[str, Engine]) -> None:
    """And trains as it would have by itself; a schedule is part of the program."""
    from layerwise.engine._key import optimizer_key

    optimizers = keras.optimizers
    assert optimizer_key(optimizers.Adam(0.1)) == optimizer_key(optimizers.Adam(0.2))
    assert optimizer_key(optimizers.Adam(0.1)) != optimizer_key(optimizers.Adam(0.1, beta_1=0.5))
    schedules = [optimizers.schedules.CosineDecay(rate, 5) for rate in (0.1, 0.2)]
    assert len({optimizer_key(optimizers.SGD(rate)) for rate in schedules}) == 2
    ends = []
    for engine in (engines["auto"], make_engine("fit")):
        for rate in (0.001, 0.03):
            stage = problem(BLOCKS[0], seed=9)
            object.__setattr__(stage, "optimizer", optimizers.Adam(rate))
            stage.model.compile(optimizer=stage.optimizer)
            engine.train(stage, ignore)
        ends.append(weights_of(stage))
    for ours, theirs in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@on_jax
@pytest.mark.parametrize(
    ("steps", "seconds", "expected"),
    [
        (100, 0.1, 100),
        (100, 0.05, 200),
        (1, 0.001, 16),
        (1, 0.02, 10),
        (4, 1.2, 6),
        (1, 2.5, 1),
        (200, 0.0, 3200),
    ],
    ids=[
        "as it is",
        "twice as many",
        "no leap",
        "ten steps",
        "two seconds",
        "one at least",
        "no time",
    ],
)
def test_a_call_lasts_as_long_as_it_should(steps: int, seconds: float, expected: int) -> None:
    from layerwise.engine._session import _next_size

    assert abs(_next_size(steps, seconds) - expected) <= 1
