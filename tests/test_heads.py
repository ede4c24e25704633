"""Heads of several layers, a network with an exit at every depth, and the mean of its heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise.errors import InputError
from layerwise.objectives import Targets

X, Y = two_moons(96)
THREE = Targets(kind="classes", n_classes=3)


def train(**how: Any) -> layerwise.TrainResult:
    usual: dict[str, Any] = {
        "block": lambda depth: layers.Dense(6, activation="relu"),
        "epochs": 2,
        "max_depth": 3,
        "depth_rule": layerwise.FixedDepth(keep="last"),
    }
    return layerwise.train(X, Y, **{**usual, **how}, verbose=0)


@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ((8,), ["Dense"] * 3),
        ((5, 8), ["Conv1D"] * 2 + ["Dense"]),
        ((6, 6, 4), ["Conv2D"] * 2 + ["Dense"]),
        ((2, 2, 2, 2), ["Dense"] * 3),
    ],
    ids=str,
)
@pytest.mark.engines
def test_a_head_of_three_layers(shape: tuple[int, ...], kinds: list[str]) -> None:
    """So many layers with weights, all but the last as wide as the features; probabilities."""
    head = layerwise.Supervised(head_depth=3).head(shape, THREE)
    out = head(np.random.default_rng(0).normal(size=(7, *shape)).astype("float32"))
    weighted = [layer for layer in head.layers if type(layer).__name__.startswith(("Conv", "Den"))]
    assert [type(layer).__name__ for layer in weighted] == kinds
    width = shape[-1] if kinds[0] != "Dense" else int(np.prod(shape))
    assert [layer.kernel.shape[-1] for layer in weighted] == [width, width, 3]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(out).sum(axis=1), 1, rtol=1e-5)


def test_the_grid_is_averaged_after_the_convolutions() -> None:
    """As published: convolutions see the whole image, the last layer a 2 x 2 grid."""
    head = layerwise.Supervised(head_depth=2).head((6, 6, 4), THREE)
    head.build((None, 6, 6, 4))
    assert head.layers[0].output.shape == (None, 6, 6, 4)
    assert head.layers[-1].kernel.shape == (2 * 2 * 4, 3)


def test_each_depth_has_its_own_head_depth() -> None:
    result = train(objective=lambda depth: layerwise.Supervised(head_depth=depth), head="fresh")
    heads = [result.model_at(depth).layers[-1] for depth in (1, 2, 3)]
    assert [len(getattr(head, "layers", [head])) for head in heads] == [1, 2, 3]


@pytest.mark.parametrize("wrong", [0, 1.5, True, "two"])
def test_what_is_no_head_depth(wrong: Any) -> None:
    with pytest.raises((InputError, TypeError), match="head_depth"):
        layerwise.Supervised(head_depth=wrong)


@pytest.mark.parametrize("objective", ["supervised", "reconstruction"])
def test_exits_predict_what_each_depth_does(objective: str) -> None:
    """Within 1e-6 of the network of that depth."""
    result = train(objective=objective)
    exits = result.early_exits().predict(X, verbose=0)
    assert list(exits) == ["depth_1", "depth_2", "depth_3"]
    for depth in (1, 2, 3):
        alone = result.model_at(depth).predict(X, verbose=0)
        np.testing.assert_allclose(exits[f"depth_{depth}"], alone, atol=1e-6)


def test_exits_share_nothing_with_the_stages() -> None:
    result = train()
    before = result.model.predict(X, verbose=0)
    exits = result.early_exits()
    exits.set_weights([np.zeros_like(w) for w in exits.get_weights()])
    np.testing.assert_array_equal(result.model.predict(X, verbose=0), before)


@pytest.mark.parametrize("weights", [None, [1, 1, 1], [0, 1, 3.0], [0, 0, 2]], ids=str)
def test_the_ensemble_is_the_weighted_mean(weights: list[float] | None, tmp_path: Path) -> None:
    """Against NumPy in float64, within 1e-6; by default 1, 2, 4. It survives being saved."""
    result = train()
    each = [result.model_at(d).predict(X, verbose=0).astype("float64") for d in (1, 2, 3)]
    expected = np.average(each, axis=0, weights=weights or [1, 2, 4])
    model = result.ensemble(weights)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, atol=1e-6)
    told = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert told["accuracy"] == pytest.approx(np.mean(expected.argmax(axis=1) == Y))
    model.save(tmp_path / "ensemble.keras")
    again = keras.saving.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("wrong", [[1], [1, -1, 1], [0, 0, 0], [1, 1, float("nan")]], ids=str)
def test_weights_that_do_not_fit(wrong: list[float]) -> None:
    with pytest.raises(InputError, match="`weights` must be 3 finite numbers"):
        train().ensemble(wrong)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"window": 2}, "trained further"),
        ({"objective": "forward_forward"}, "no chain"),
    ],
    ids=["window", "views"],
)
def test_where_no_trunk_fits_all_heads(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(**how).early_exits()


def test_without_labels_there_is_nothing_to_predict() -> None:
    result = layerwise.train(
        X,
        block=lambda depth: layers.Dense(6),
        objective="reconstruction",
        epochs=1,
        max_depth=1,
        verbose=0,
    )
    with pytest.raises(InputError, match="given none"):
        result.early_exits()


def test_exits_of_blocks_and_heads_that_share_a_name() -> None:
    """A user may call every block the same; heads on images are wrapped alike."""
    images = np.random.default_rng(0).random((96, 4, 4, 1), dtype=np.float32)
    result = layerwise.train(
        images, Y, block=lambda depth: keras.layers.Conv2D(3, 1, name="mine"), epochs=1,
        max_depth=2, depth_rule=layerwise.FixedDepth("last"), head="fresh", verbose=0,
    )  # fmt: skip
    assert list(result.early_exits().predict(images, verbose=0)) == ["depth_1", "depth_2"]
