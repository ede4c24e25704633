"""How a network may grow: windows, freezing, starts, stages in step, augmentation, more rows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise.datasets import augmented
from layerwise.errors import InputError
from layerwise.growth import Policy

X, Y = two_moons(96)
MORE = two_moons(64, seed=3)[0]
STILL = keras.optimizers.SGD(0.0)
"""Moves nothing: the network is what it was when it grew."""


def dense(depth: int) -> keras.Layer:
    return layers.Dense(6, activation="relu")


def trained(*data: Any, **arguments: Any) -> layerwise.TrainResult:
    usual: dict[str, Any] = {
        "block": dense,
        "epochs": 3,
        "max_depth": 3,
        "depth_rule": layerwise.FixedDepth(keep="last"),
    }
    return layerwise.train(*(data or (X, Y)), **{**usual, **arguments}, verbose=0)


def kernels(result: layerwise.TrainResult, depth: int) -> list[np.ndarray]:
    """Of the blocks of the network as it stood at a depth, and of its head."""
    return [np.array(v) for v in result.model_at(depth).get_weights() if v.ndim == 2]


def lowest_that_moved(result: layerwise.TrainResult, depth: int) -> int:
    """The lowest block whose kernel the stage of a depth changed."""
    before, after = kernels(result, depth - 1), kernels(result, depth)
    same = [np.array_equal(a, b) for a, b in zip(before[: depth - 1], after, strict=False)]
    return same.index(False) + 1 if False in same else depth


@pytest.mark.parametrize(
    ("policy", "lowest"),
    [
        (Policy(), [1, 2, 3, 4, 5]),
        (Policy(window=2), [1, 1, 2, 3, 4]),
        (Policy(window=5), [1, 1, 1, 1, 1]),
        (Policy(freeze="none"), [1, 1, 1, 1, 1]),
        (Policy(freeze=0), [1, 1, 1, 1, 1]),
        (Policy(freeze=2), [1, 2, 3, 3, 3]),
    ],
    ids=["all", "window-2", "window-5", "none", "zero", "two"],
)
def test_which_blocks_train(policy: Policy, lowest: list[int]) -> None:
    assert [policy.lowest(depth) for depth in range(1, 6)] == lowest


@pytest.mark.parametrize(
    ("how", "lowest"),
    [
        ({}, [2, 3, 4]),
        ({"window": 2}, [1, 2, 3]),
        ({"freeze": "none"}, [1, 1, 1]),
        ({"freeze": 1}, [2, 2, 2]),
        ({"window": 2, "objective": "reconstruction"}, [1, 2, 3]),
        ({"window": 2, "cache_dir": "cache"}, [1, 2, 3]),
        pytest.param(
            {"freeze": "none", "augment": layers.GaussianNoise(0.1)},
            [1, 1, 1],
            marks=pytest.mark.slow,
        ),
        ({"augment": layers.GaussianNoise(0.1)}, [2, 3, 4]),
    ],
    ids=[
        "all",
        "window",
        "none",
        "one",
        "reconstruction",
        "on-disk",
        "augmented-none",
        "augmented",
    ],
)
def test_exactly_those_blocks_move(how: dict[str, Any], lowest: list[int]) -> None:
    """Every earlier network stays as it was, and the scores are those of the networks."""
    result = trained(max_depth=4, **how)
    assert [lowest_that_moved(result, depth) for depth in (2, 3, 4)] == lowest
    held = layerwise.Dataset.from_arrays(X, Y).validation
    assert held is not None
    for depth in (1, 2, 3, 4):
        guess = result.model_at(depth).predict(held.x, verbose=0).argmax(axis=1)
        told = result.history.stages[depth - 1].validation
        assert told is not None
        assert told["accuracy"] == pytest.approx(float(np.mean(guess == held.y)), abs=1e-6)


def test_a_window_of_all_is_freezing_none() -> None:
    one, other = trained(window=3), trained(freeze="none")
    for a, b in zip(kernels(one, 3), kernels(other, 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_window_trains_as_keras_own_loop_does() -> None:
    """Both engines, two blocks with Dropout and BatchNorm: within 1e-5."""

    def block(depth: int) -> keras.Layer:
        return keras.Sequential(
            [layers.Dense(6, "relu"), layers.BatchNormalization(), layers.Dropout(0.2)]
        )

    results = [trained(window=2, block=block, max_depth=2, engine=e) for e in ("compiled", "fit")]
    for a, b in zip(*(kernels(result, 2) for result in results), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


# Where a new block starts.


def images(rows: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((rows, 6, 6, 3)).astype("float32"), np.arange(rows) % 3


def normed(depth: int) -> keras.Layer:
    convolution = layers.Conv2D(3, 3, padding="same", use_bias=depth % 2 == 0)
    return keras.Sequential([convolution, layers.BatchNormalization(), layers.ReLU()])


@pytest.mark.parametrize(
    ("data", "block"), [((X, Y), dense), (images(), normed)], ids=["dense", "convolution"]
)
def test_an_identity_leaves_the_network_as_it_was(data: Any, block: Any) -> None:
    """At the moment of growth, to 1e-6: with a learning rate of 0 nothing else happens.

    Momentum 1 keeps the statistics of BatchNorm where they start.
    """

    def still(depth: int) -> keras.Layer:
        made = block(depth)
        for layer in made.layers if isinstance(made, keras.Sequential) else ():
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = 1.0
        return made

    result = trained(*data, block=still, init="identity", optimizer=STILL)
    before = result.model_at(1).predict(data[0], verbose=0)
    for depth in (2, 3):
        after = result.model_at(depth).predict(data[0], verbose=0)
        np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (lambda d: layers.Dense(6, "tanh"), "tanh"),
        (lambda d: layers.Dense(6 + d, "relu"), "turns 7 features into 8"),
        (lambda d: layers.Dense(6) if d == 1 else layers.Dense(6, "relu"), "relu on features"),
        (lambda d: keras.Sequential([layers.Dense(6), layers.LayerNormalization()]), "LayerNorm"),
    ],
    ids=["tanh", "wider", "negative", "normalised"],
)
def test_what_cannot_be_an_identity_is_refused(block: Any, why: str) -> None:
    with pytest.raises(InputError, match="depth 2") as caught:
        trained(block=block, init="identity")
    assert why in str(caught.value)


def test_a_copy_starts_as_the_block_below() -> None:
    def block(depth: int) -> keras.Layer:
        if depth > 1:
            return layers.Dense(6, "relu")
        return keras.Sequential([layers.Dense(6), layers.Dense(6, "relu")])

    with pytest.raises(InputError, match="shaped as the one below"):
        trained(block=block, init="copy")
    wide = np.repeat(X, 3, axis=1)
    result = trained(wide, Y, init="copy", optimizer=STILL)
    first, second, third, _ = kernels(result, 3)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


# All stages in step.


@pytest.mark.parametrize("objective", ["supervised", "reconstruction"])
def test_no_gradient_passes_down(objective: str) -> None:
    """The lowest block does not know how many stand on it, and learns as it would alone."""
    how: dict[str, Any] = {"objective": objective, "head": "fresh", "optimizer": "adam"}
    alone = trained(max_depth=1, **how)
    for depth in (1, 3):
        together = trained(max_depth=depth, schedule="simultaneous", **how)
        np.testing.assert_allclose(kernels(together, 1)[0], kernels(alone, 1)[0], atol=1e-6)
    curves = together.history.stages[1].curves
    assert len(curves["loss"]) == len(curves["val_loss"]) == 3
    assert [stage.depth for stage in together.history.stages] == [1, 2, 3]


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param("predsim", marks=pytest.mark.slow),
        layerwise.Mixed({"supervised": [1.0, 0.5], "reconstruction": [0, 0.5]}),
    ],
)
def test_engines_agree_in_step(objective: Any) -> None:
    how: dict[str, Any] = {"objective": objective, "schedule": "simultaneous", "max_depth": 2}
    one, other = (trained(engine=engine, **how) for engine in ("compiled", "fit"))
    for a, b in zip(kernels(one, 2), kernels(other, 2), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


# Augmentation.


def test_recomputing_the_trunk_equals_caching_it() -> None:
    """With an augmentation that does nothing: within 1e-5."""
    cached, recomputed = trained(), trained(augment=layers.GaussianNoise(0.0))
    for a, b in zip(kernels(cached, 3), kernels(recomputed, 3), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_every_epoch_is_augmented_anew() -> None:
    """A loss that only tells how rows differ from those of the batch order: never the same."""

    class Watching:
        def head(self, feature_shape: Any, targets: Any) -> None:
            return None

        def loss(self, block: Any, head: Any, x: Any, y: Any, **rest: Any) -> Any:
            again = rest["again"]
            changed = keras.ops.mean(keras.ops.abs(x - again))
            return keras.ops.mean(block(x)) * 0, {"changed": changed, "mean": keras.ops.mean(x)}

    # `again` must be a keyword of its own to be offered.
    class Asking(Watching):
        def loss(self, block: Any, head: Any, x: Any, y: Any, *, again: Any, **rest: Any) -> Any:
            return super().loss(block, head, x, y, again=again)

    result = trained(
        X, objective=Asking(), augment=layers.GaussianNoise(0.5), max_depth=1, optimizer=STILL
    )
    stage = result.history.stages[0]
    assert stage.validation is not None
    assert stage.validation["changed"] == 0, "scores are taken without augmentation"
    assert min(stage.curves["changed"]) > 0.3
    assert len(set(stage.curves["mean"])) == 3


def test_views_are_rows_of_their_own() -> None:
    data = layerwise.Dataset.from_arrays(X, Y, unlabeled=MORE)
    shifted = augmented(data, 3, lambda rows: rows + 1)
    np.testing.assert_allclose(shifted.train.x, np.tile(data.train.x, (3, 1)) + 1)
    np.testing.assert_array_equal(shifted.train.y, np.tile(data.train.y, 3))
    assert shifted.unlabeled is not None
    assert shifted.unlabeled.rows == 3 * len(MORE)
    assert shifted.validation is data.validation
    plain = trained(augment=layers.GaussianNoise(0.0), augment_views=1)
    for a, b in zip(kernels(plain, 3), kernels(trained(), 3), strict=True):
        np.testing.assert_array_equal(a, b)


# Rows without labels.


def test_stages_without_labels_train_on_the_pool() -> None:
    """The blocks are those of a run on all rows without any label."""
    held, rest = (X[:20], Y[:20]), (X[20:], Y[20:])
    how: dict[str, Any] = {"objective": "reconstruction", "max_depth": 2}
    pooled = trained(*rest, unlabeled=MORE, validation_data=held, **how)
    bare = trained(np.concatenate([rest[0], MORE]), validation_data=(held[0], None), **how)
    for a, b in zip(kernels(pooled, 2)[:2], kernels(bare, 2), strict=False):
        np.testing.assert_array_equal(a, b)
    assert pooled.history.stages[0].validation is not None
    assert "accuracy" in pooled.history.stages[0].validation


def test_supervised_stages_train_on_labelled_rows() -> None:
    for a, b in zip(kernels(trained(unlabeled=MORE), 3), kernels(trained(), 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_may_be_marked_as_in_scikit_learn() -> None:
    mixed_x, mixed_y = np.concatenate([X, MORE]), np.concatenate([Y, np.full(len(MORE), -1)])
    marked = layerwise.Dataset.from_arrays(mixed_x, mixed_y, unlabeled_label=-1)
    given = layerwise.Dataset.from_arrays(X, Y, unlabeled=MORE)
    assert marked.fingerprint == given.fingerprint
    assert given.fingerprint != layerwise.Dataset.from_arrays(X, Y).fingerprint
    assert given.describe()["rows"]["unlabeled"] == len(MORE)
