"""Forward-forward against NumPy in float64: its views, its goodness, its two classifiers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise.errors import InputError
from layerwise.objectives import Targets

RNG = np.random.default_rng(0)
X = RNG.random((60, 3, 2)).astype("float32")
Y = np.arange(60) % 3
TARGETS = Targets(kind="classes", n_classes=3, input_shape=(3, 2), data_shape=(3, 2))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True) + 1e-6)


def test_the_views_differ_in_the_label_alone() -> None:
    views = layerwise.ForwardForward(negatives=4, label_scale=2.0).views(
        X, Y, seed=3, targets=TARGETS
    )
    assert list(views) == [*(f"negative_{i}" for i in range(4)), "positive", "predict"]
    for view in views.values():
        np.testing.assert_allclose(view[:, :6], unit(X.reshape(60, 6)), rtol=1e-6)
    np.testing.assert_array_equal(views["positive"][:, 6:], 2 * np.eye(3)[Y])
    np.testing.assert_allclose(views["predict"][:, 6:], 2 / 3, rtol=1e-6)
    wrong = np.stack([views[f"negative_{i}"][:, 6:].argmax(axis=1) for i in range(4)])
    assert (wrong != Y).all(), "a wrong label is never the right one"
    assert all(len(set(wrong[:, label == Y].flat)) == 2 for label in range(3))


def test_the_loss_is_that_of_the_paper() -> None:
    """Within 1e-5, both terms and the peers."""
    objective = layerwise.ForwardForward(threshold=0.5, peer=0.2)
    block = layers.Dense(5, "relu", bias_initializer="glorot_normal")
    views = objective.views(X, Y, seed=0, targets=TARGETS)
    block.build((None, 9))
    loss, said = objective.loss(
        block, None, views, Y, seed=keras.random.SeedGenerator(0), training=True
    )
    kernel, bias = (np.asarray(weight, "float64") for weight in block.get_weights())
    active, quiet = (
        np.maximum(views[name].astype("float64") @ kernel + bias, 0)
        for name in ("positive", "negative_0")
    )
    good, bad = ((h**2).sum(axis=1) - 0.5 * 5 for h in (active, quiet))
    expected = (np.log1p(np.exp(-good)).mean() + np.log1p(np.exp(bad)).mean()) / 2
    mean = active.mean(axis=0)
    expected += 0.2 * np.mean((mean - mean.mean()) ** 2)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    right = np.concatenate([good > 0, bad < 0]).mean()
    assert float(said["goodness_accuracy"]) == pytest.approx(right)


@pytest.fixture(scope="module")
def grown() -> layerwise.TrainResult:
    return layerwise.train(
        X,
        Y,
        block=lambda depth: layers.Dense(8, "relu"),
        objective=layerwise.ForwardForward(),
        epochs=3,
        max_depth=3,
        depth_rule=layerwise.FixedDepth(keep="last"),
        verbose=0,
    )


def activities(result: layerwise.TrainResult, rows: np.ndarray) -> list[np.ndarray]:
    """What the dense layer of each block gives in float64, before normalization."""
    seen, found = rows.astype("float64"), []
    for block in result.blocks:
        kernel, bias = (np.asarray(w, "float64") for w in block.layers[0].get_weights())
        found.append(np.maximum(seen @ kernel + bias, 0))
        seen = unit(found[-1])
    return found


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_one_pass_classifier(grown: layerwise.TrainResult, depth: int) -> None:
    """A softmax on the normalized activities of all layers but the first, from a neutral label."""
    neutral = np.concatenate([unit(X.reshape(60, 6)), np.full((60, 3), 3 / 3)], axis=1)
    seen = [unit(h) for h in activities(grown, neutral)[:depth]]
    kernel, bias = grown.model_at(depth).layers[-1].get_weights()
    logits = np.concatenate(seen[1:] or seen, axis=1) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    got = grown.model_at(depth).predict(X, verbose=0)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    held = layerwise.Dataset.from_arrays(X, Y).validation
    assert held is not None
    guess = grown.model_at(depth).predict(held.x, verbose=0).argmax(axis=1)
    told = grown.history.stages[depth - 1].validation
    assert told is not None
    assert told["accuracy"] == pytest.approx(float(np.mean(guess == held.y)), abs=1e-6)


def test_the_classifier_by_goodness(grown: layerwise.TrainResult) -> None:
    goodness = []
    for label in 3 * np.eye(3):
        rows = np.concatenate([unit(X.reshape(60, 6)), np.tile(label, (60, 1))], axis=1)
        goodness.append(sum((h**2).sum(axis=1) for h in activities(grown, rows)[1:]))
    got = layerwise.classify_by_goodness(grown.blocks, X, 3, batch_size=16)
    np.testing.assert_array_equal(got, np.argmax(goodness, axis=0))


def test_engines_agree() -> None:
    how: dict[str, Any] = {
        "block": lambda depth: layers.Dense(8, "relu"),
        "objective": layerwise.ForwardForward(negatives=3),
        "epochs": 2,
        "max_depth": 2,
        "verbose": 0,
    }
    one, other = (layerwise.train(X, Y, engine=e, **how) for e in ("compiled", "fit"))
    for a, b in zip(one.model_at(2).get_weights(), other.model_at(2).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"y": RNG.random(60)}, "labels are values"),
        ({"block": lambda depth: layers.Dense(8, "tanh")}, "activation relu"),
        ({"schedule": "simultaneous"}, "stage by stage"),
        ({"augment": layers.GaussianNoise(0.1)}, "stage by stage"),
        ({"objective": lambda d: ["forward_forward", "supervised"][d - 1]}, "depth 1"),
    ],
    ids=["values", "tanh", "in-step", "augmented", "two-kinds"],
)
def test_what_does_not_go_with_it(changed: dict[str, Any], why: str) -> None:
    how = {
        "x": X,
        "y": Y,
        "block": lambda depth: layers.Dense(8, "relu"),
        "objective": "forward_forward",
    }
    with pytest.raises(InputError, match=why):
        layerwise.train(**{**how, **changed}, epochs=1, max_depth=2, verbose=0)
