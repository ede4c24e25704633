"""What a look into a network finds, against scikit-learn and NumPy in float64."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import confusion_matrix
from sklearn.preprocessing import StandardScaler

import layerwise
from layerwise import diagnostics
from layerwise.datasets import Split
from layerwise.diagnostics import RATE
from layerwise.engine import Problem, make_engine
from layerwise.errors import InputError
from layerwise.objectives import Supervised, Targets
from layerwise.training._predictions import probabilities

RNG = np.random.default_rng(0)
X = RNG.random((400, 12))
Y = X[:, :3].argmax(axis=1)


def test_effective_rank_of_known_spectra() -> None:
    """Centred columns that are orthogonal: singular values are known beforehand."""
    basis = np.linalg.qr(RNG.normal(size=(50, 8)) - 0)[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    assert diagnostics.effective_rank(basis - 0) == pytest.approx(8, abs=1e-6)
    uneven = basis * np.array([3, 1, 0, 0, 0, 0, 0, 0])
    shares = np.array([0.75, 0.25])
    assert diagnostics.effective_rank(uneven) == pytest.approx(
        np.exp(-(shares * np.log(shares)).sum()), abs=1e-6
    )
    assert diagnostics.effective_rank(np.ones((9, 4))) == 0.0


def cka(a: Any, b: Any) -> float:
    """Kornblith et al. (2019), by the Hilbert-Schmidt independence criterion of linear kernels."""
    centre = np.eye(len(a)) - 1 / len(a)
    k, m = (centre @ (x @ x.T) @ centre for x in (a, b))
    return float(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


@pytest.mark.parametrize("widths", [(5, 7), (60, 80)], ids=["tall", "wide"])
def test_cka_is_that_of_the_paper(widths: tuple[int, int]) -> None:
    a, b = RNG.normal(size=(30, widths[0])), RNG.normal(size=(30, widths[1]))
    b[:, 0] = a[:, 0]
    assert diagnostics.linear_cka(a, b) == pytest.approx(cka(a, b), abs=1e-12)
    assert diagnostics.linear_cka(a, a + 3) == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(diagnostics.linear_cka(a, np.ones((30, 2))))


def test_dead_units_are_those_that_never_change() -> None:
    features = np.maximum(RNG.normal(size=(100, 8)), 0)
    features[:, 2], features[:, 5] = 0.0, 1.5
    assert diagnostics.dead_share(features) == 2 / 8
    assert diagnostics.dead_share(np.zeros((4, 3))) == 1.0


def test_a_probe_is_scikit_learns() -> None:
    train, held = slice(0, 300), slice(300, 400)
    scale = StandardScaler().fit(X[train])
    model = LogisticRegression(max_iter=200, tol=1e-3).fit(scale.transform(X[train]), Y[train])
    expected = model.score(scale.transform(X[held]), Y[held])
    found = diagnostics.linear_probe(X[train], Y[train], X[held], Y[held], classes=True)
    assert found == expected
    values = X @ RNG.normal(size=12)
    model = Ridge().fit(scale.transform(X[train]), values[train])
    expected = model.score(scale.transform(X[held]), values[held])
    found = diagnostics.linear_probe(X[train], values[train], X[held], values[held], classes=False)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_probe_of_one_class_says_how_often_it_is_right() -> None:
    assert (
        diagnostics.linear_probe(X, np.zeros(400), X[:4], np.array([0, 0, 1, 0]), classes=True)
        == 0.75
    )


def test_reconstruction_is_the_variance_that_ridge_regression_explains() -> None:
    """In closed form: with a penalty of 1 on standardized features."""
    features = np.tanh(X @ RNG.normal(size=(12, 9)))
    train, held = slice(0, 300), slice(300, 400)
    mean, spread = features[train].mean(axis=0), features[train].std(axis=0)
    a, b = (features[train] - mean) / spread, X[train] - X[train].mean(axis=0)
    weights = np.linalg.solve(a.T @ a + np.eye(9), a.T @ b)
    guess = (features[held] - mean) / spread @ weights + X[train].mean(axis=0)
    lost, whole = ((X[held] - guess) ** 2).sum(), ((X[held] - X[train].mean(axis=0)) ** 2).sum()
    found = diagnostics.reconstruction(features[train], X[train], features[held], X[held])
    assert found == pytest.approx(1 - lost / whole, abs=1e-10)
    assert diagnostics.reconstruction(X[train], X[train], X[held], X[held]) > 0.99


def test_calibration_error_by_hand() -> None:
    """Guo et al. (2017): two rows at 0.9 of which one is right, one at 0.6 that is right."""
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    found = diagnostics.calibration(chances, np.array([0, 1, 1]), bins=10)
    assert found.error == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.4)
    assert [one["share"] for one in found.bins] == pytest.approx([1 / 3, 2 / 3])
    # A confidence of 1, and of a bin's upper end, have a bin.
    assert diagnostics.calibration(np.eye(3), np.arange(3), bins=15).error == 0.0


def test_confused_pairs_and_the_hardest_rows() -> None:
    matrix = np.array([[5, 2, 0], [4, 9, 1], [0, 0, 3]])
    assert diagnostics.confused_pairs(matrix) == [(1, 0, 4), (0, 1, 2), (1, 2, 1)]
    chances = np.array([[0.7, 0.3], [0.1, 0.9], [0.6, 0.4]])
    assert diagnostics.hardest(chances, np.array([1, 1, 0]), most=2).tolist() == [0, 2]


def kernel_of(layer: keras.Layer) -> Any:
    return keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)


@pytest.mark.parametrize("name", ["auto", "fit"])
def test_gradient_norms_are_those_of_the_closed_form(name: Any) -> None:
    """Two linear layers and a mean squared error, in float64; and the weights are as before."""
    x, y = X.astype(np.float32), (X @ RNG.normal(size=(12, 2))).astype(np.float32)
    block, head = layers.Dense(5, use_bias=False), layers.Dense(2, use_bias=False)
    block.build((None, 12))
    head.build((None, 5))
    problem = Problem(
        block=block, head=head, objective=Supervised(),
        targets=Targets(
            kind="values", shape=(2,), n_classes=None, input_shape=(12,), data_shape=(12,)
        ), train=Split(x, y), validation=None,
        optimizer=keras.optimizers.SGD(RATE), batch_size=len(x), epochs=1, seed=0,
    )  # fmt: skip
    w, v = (kernel_of(layer) for layer in (block, head))
    wrong = 2 * (X @ w @ v - y) / y.size
    expected = [np.linalg.norm(X.T @ wrong @ v.T), np.linalg.norm((X @ w).T @ wrong)]
    found = diagnostics.gradient_norms(make_engine(name), problem, [block, head])
    assert found == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(kernel_of(block), w)


def test_another_activation_inside_and_the_head_as_it_was() -> None:
    model = keras.Sequential([
        keras.Input((4,)), keras.Sequential([layers.Dense(3, "relu"), layers.Dense(3)]),
        layers.Dense(2, "softmax"),
    ])  # fmt: skip
    other = diagnostics.with_activation(model, "sigmoid")
    assert other is not None
    inside = [layer.activation for layer in other.layers[0].layers]
    assert inside == [keras.activations.sigmoid, keras.activations.linear]
    assert other.layers[-1].activation is keras.activations.softmax
    assert diagnostics.with_activation(model, "relu") is None


def test_probabilities_of_any_head() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 9.0]])
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(logits), soft, rtol=1e-12)
    np.testing.assert_array_equal(probabilities(soft), soft)
    np.testing.assert_allclose(probabilities(np.array([[0.2], [1.0]])), [[0.8, 0.2], [0.0, 1.0]])
    np.testing.assert_allclose(
        probabilities(np.array([[0.0], [40.0]])), [[0.5, 0.5], [0, 1]], atol=1e-12
    )


HOW: dict[str, Any] = {
    "block": lambda depth: layers.Dense(16, "tanh"), "epochs": 3, "max_depth": 2,
    "depth_rule": layerwise.FixedDepth("last"), "test_data": (X[:60], Y[:60]), "verbose": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def looked() -> layerwise.TrainResult:
    return layerwise.train(X, Y, **HOW, diagnostics=True)


def test_a_run_keeps_all_that_was_asked_for(looked: layerwise.TrainResult) -> None:
    found = looked.history.diagnostics
    assert found is not None
    assert set(found) == set(diagnostics.NAMES)
    for name, one in found.items():
        assert one["read"].endswith("."), name
    for name in ("probe", "reconstruction", "similarity", "rank", "dead"):
        assert len(found[name]["values"]) == 2
        assert found[name]["rows"] == {"train": 320, "held": 80}
    assert set(found["gradients"]["curves"]) == {
        "end to end", "end to end, sigmoid", "end to end, relu", "greedy",
    }  # fmt: skip
    for curve in found["gradients"]["curves"].values():
        assert len(curve["start"]) == len(curve["after"]) == 2
        assert all(value > 0 for value in (*curve["start"], *curve["after"]))
    again = layerwise.History.from_json(looked.history.to_json())
    assert json.loads(again.to_json()) == json.loads(looked.history.to_json())


def test_what_a_run_keeps_is_what_its_network_gives(looked: layerwise.TrainResult) -> None:
    found, model = looked.history.diagnostics, looked.model
    assert found is not None
    chances = np.asarray(model.predict(X[:60], verbose=0), np.float64)
    expected = confusion_matrix(Y[:60], chances.argmax(axis=1), labels=[0, 1, 2])
    assert found["confusion"]["matrix"] == expected.tolist()
    assert found["confusion"]["split"] == "test"
    wanted = diagnostics.calibration(chances, Y[:60]).error
    assert found["calibration"]["error"] == pytest.approx(wanted, abs=1e-6)
    first = found["hardest"]["rows"][0]
    own = chances[np.arange(60), Y[:60]]
    assert first["row"] == own.argmin()
    assert first["probability"] == pytest.approx(own.min(), abs=1e-6)


def test_looking_changes_nothing(looked: layerwise.TrainResult) -> None:
    plain = layerwise.train(X, Y, **HOW)
    for one, two in zip(plain.model.get_weights(), looked.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_sigmoid_network_of_five_blocks_hardly_passes_gradients_down() -> None:
    """What both founding tutorials start from; a small fact, and a strong one."""
    result = layerwise.train(
        X, Y, **{**HOW, "block": lambda depth: layers.Dense(16, "sigmoid"), "max_depth": 5,
                 "epochs": 1}, diagnostics="gradients",
    )  # fmt: skip
    assert result.history.diagnostics is not None
    curves = result.history.diagnostics["gradients"]["curves"]
    assert "end to end, sigmoid" not in curves
    whole, greedy = curves["end to end"]["start"], curves["greedy"]["start"]
    assert whole[0] < whole[4] / 30
    assert greedy[0] > whole[0] * 30


def test_labels_are_not_needed_for_what_does_not_need_them() -> None:
    result = layerwise.train(
        X, objective="reconstruction", block=HOW["block"], epochs=1, max_depth=1, verbose=0,
        diagnostics=True,
    )  # fmt: skip
    assert result.history.diagnostics is not None
    assert set(result.history.diagnostics) == {"reconstruction", "similarity", "rank", "dead"}


def test_values_have_probes_and_gradients_but_no_confusion() -> None:
    result = layerwise.train(
        X, X[:, 0] * 3, block=HOW["block"], epochs=1, max_depth=1, verbose=0, diagnostics=True
    )
    assert result.history.diagnostics is not None
    expected = {"probe", "reconstruction", "similarity", "rank", "dead", "gradients"}
    assert set(result.history.diagnostics) == expected


def test_many_classes_keep_the_worst_pairs_alone() -> None:
    y = np.arange(400) % 40
    result = layerwise.train(
        X, y, block=HOW["block"], epochs=1, max_depth=1, verbose=0, diagnostics="confusion"
    )
    assert result.history.diagnostics is not None
    told = result.history.diagnostics["confusion"]
    assert "matrix" not in told
    assert 1 <= len(told["pairs"]) <= 10


@pytest.mark.parametrize("given", ["everything", 3, ["probe", "nothing"]])
def test_unknown_diagnostics_are_refused(given: Any) -> None:
    with pytest.raises(InputError, match="`diagnostics` must be True, False or some of probe"):
        layerwise.train(X, Y, **HOW, diagnostics=given)
