"""scikit-learn's own checks, what the estimators promise beyond them, and a table of inputs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from keras import layers
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

import layerwise
from layerwise import LayerwiseClassifier, LayerwiseRegressor, LayerwiseTransformer

X, Y = load_iris(return_X_y=True)
QUICK: dict[str, Any] = {"epochs": 15, "max_depth": 2, "fine_tune": 5, "random_state": 0}
SHORT: dict[str, Any] = {"epochs": 2, "max_depth": 2, "random_state": 0}

WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "batches and the held-out rows differ: see "
    "test_weights_are_repetitions"
}


def _expected(estimator: Any) -> dict[str, str]:
    return {} if isinstance(estimator, LayerwiseTransformer) else WEIGHTS


FEW: dict[str, Any] = {"epochs": 5, "max_depth": 2, "learning_rate": 0.01, "fine_tune": 3}
MANY: dict[str, Any] = {"epochs": 30, "max_depth": 2, "fine_tune": 10}
CHECKED = {
    "jax": [
        LayerwiseClassifier(**MANY),
        LayerwiseRegressor(**MANY),
        LayerwiseTransformer(epochs=5, max_depth=2),
    ],
    # Keras' own loop is slow: one estimator, and as few epochs as learn what is asked for.
    "tensorflow": [LayerwiseClassifier(**FEW)],
    "torch": [LayerwiseClassifier(**FEW)],
}


@pytest.mark.slow
@pytest.mark.engines
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(CHECKED[keras.backend.backend()], expected_failed_checks=_expected)
def test_scikit_learn_agrees(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_weights_are_repetitions() -> None:
    """Full batches, the same validation rows: a weight of k is k equal rows, within 1e-4."""
    weight = np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), weight)
    how: dict[str, Any] = {**QUICK, "batch_size": 1000, "validation_fraction": 0, "scale": False}
    weighted = LayerwiseClassifier(**how).fit(X, Y, sample_weight=weight * len(X) / weight.sum())
    repeated = LayerwiseClassifier(**how).fit(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize(("rows", "batch"), [(500, 32), (2500, 50), (13_000, 200)])
def test_large_data_are_taken_in_larger_batches(rows: int, batch: int) -> None:
    """The same bits as with the batch size in numbers: a fortieth of the rows to train on."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    y = (x[:, 0] > 0).astype(int)
    how: dict[str, Any] = {"epochs": 1, "max_depth": 1, "fine_tune": 0, "random_state": 0}
    auto, told = (
        LayerwiseClassifier(**how, **given).fit(x, y).predict_proba(x[:50])
        for given in ({}, {"batch_size": batch})
    )
    np.testing.assert_array_equal(auto, told)


def test_it_is_what_train_gives() -> None:
    """The network of `layerwise.train` on rows scaled by the same scikit-learn scaler: 1e-6."""
    from layerwise.estimators._data import Given, dealt

    grown = LayerwiseClassifier(**SHORT, fine_tune=0, engine="fit").fit(X, Y)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    train, held_out = dealt(Given(x=X, y=Y, kind="classes"), 0.2, seed)
    scaled = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    assert np.bincount(Y[held_out]).tolist() == [10, 10, 10]
    result = layerwise.train(
        scaled[train],
        Y[train],
        validation_data=(scaled[held_out], Y[held_out]),
        block=lambda depth: layers.Dense(128, "relu"),
        epochs=2,
        max_depth=2,
        depth_rule=layerwise.Plateau(2),
        seed=seed,
        verbose=0,
    )
    expected = result.model.predict(scaled, verbose=0)
    np.testing.assert_allclose(grown.predict_proba(X), expected, atol=1e-6)
    assert grown.selected_depth_ == result.selected_depth


def test_equal_seeds_give_equal_bits() -> None:
    one, other = (LayerwiseClassifier(**QUICK).fit(X, Y) for _ in range(2))
    assert one.predict_proba(X).tobytes() == other.predict_proba(X).tobytes()
    third = LayerwiseClassifier(**{**QUICK, "random_state": 1}).fit(X, Y)
    assert not np.array_equal(one.predict_proba(X), third.predict_proba(X))


def test_a_prediction_does_not_depend_on_its_company() -> None:
    grown = LayerwiseClassifier(**SHORT).fit(X, Y)
    alone = np.concatenate([grown.predict_proba(row[None]) for row in X[:20]])
    assert alone.tobytes() == grown.predict_proba(X)[:20].tobytes()


def test_stages_are_the_networks_as_they_grew() -> None:
    grown = LayerwiseClassifier(**{**SHORT, "max_depth": 3}, patience=5, fine_tune=0).fit(X, Y)
    staged = list(grown.staged_predict_proba(X))
    assert len(staged) == 3 == len(grown.history_.stages)
    np.testing.assert_array_equal(staged[grown.selected_depth_ - 1], grown.predict_proba(X))
    for probabilities, labels in zip(staged, grown.staged_predict(X), strict=True):
        np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)


def test_regression_comes_back_in_its_own_units() -> None:
    """Targets around a million: better than their mean, at every depth; also two at once."""
    x, y = load_diabetes(return_X_y=True)
    y = 1e6 + 100 * y
    grown = LayerwiseRegressor(**{**QUICK, "epochs": 30}).fit(x, y)
    assert grown.score(x, y) > 0.3
    assert all(abs(values.mean() - y.mean()) < y.std() for values in grown.staged_predict(x))
    both = LayerwiseRegressor(**QUICK).fit(x, np.column_stack([y, -y]))
    assert both.predict(x).shape == (len(x), 2)


def test_rows_without_labels() -> None:
    """They scale the columns and train the stages that need no labels."""
    few = np.where(np.arange(len(Y)) % 5 == 0, Y, -1)
    how = {**QUICK, "objective": "reconstruction"}
    marked = LayerwiseClassifier(**how, unlabeled_label=-1).fit(X, few)
    assert marked.classes_.tolist() == [0, 1, 2]
    assert marked.score(X, Y) > 0.6
    assert LayerwiseClassifier(**how).fit(X, few).classes_.tolist() == [-1, 0, 1, 2]
    missing = np.where(few == -1, np.nan, few)
    values = LayerwiseRegressor(**how, unlabeled_label=np.nan).fit(X, missing)
    assert values.score(X, Y) > 0.3
    with pytest.raises(ValueError, match="unlabeled_label=nan"):
        LayerwiseRegressor(unlabeled_label=-1).fit(X, few)


def test_rows_of_ones_own_choose_the_depth() -> None:
    grown = LayerwiseClassifier(**QUICK).fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    told = grown.history_.stages[0].validation
    assert told is not None
    score = np.mean(next(grown.staged_predict(X[1::2])) == Y[1::2])
    assert told["accuracy"] == pytest.approx(score)
    with pytest.raises(ValueError, match="labels that `y` does not"):
        LayerwiseClassifier(**SHORT).fit(X, Y, X_val=X, y_val=Y + 1)


def test_inside_the_tools_of_scikit_learn() -> None:
    names = [f"f{i}" for i in range(4)]
    frame = pd.DataFrame(X, columns=names).assign(kind=np.array(["a", "b"])[Y % 2])
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"
    )
    labels = np.array(["setosa", "versicolor", "virginica"])[Y]
    pipe = make_pipeline(encode, LayerwiseClassifier(**QUICK)).fit(frame, labels)
    assert pipe.score(frame, labels) > 0.7
    features = LayerwiseTransformer(**SHORT, width=3).set_output(transform="pandas")
    table = features.fit_transform(frame[names])
    assert table.columns.tolist() == [f"layerwisetransformer{i}" for i in range(3)]
    assert features.feature_names_in_.tolist() == names


@pytest.mark.slow
def test_calibrated() -> None:
    calibrated = CalibratedClassifierCV(LayerwiseClassifier(**SHORT), cv=2).fit(X, Y)
    assert calibrated.predict_proba(X).shape == (150, 3)


@pytest.mark.slow
def test_searched_in_parallel() -> None:
    search = GridSearchCV(LayerwiseClassifier(**SHORT), {"width": [4, 8]}, cv=2, n_jobs=2)
    alone = clone(search).set_params(n_jobs=1).fit(X, Y)
    assert search.fit(X, Y).cv_results_["mean_test_score"].tolist() == (
        alone.cv_results_["mean_test_score"].tolist()
    )


@pytest.mark.parametrize("objective", ["supervised", "reconstruction", "forward_forward"])
def test_pickles(objective: str) -> None:
    grown = LayerwiseClassifier(**SHORT, objective=objective).fit(X, Y)
    again = pickle.loads(pickle.dumps(grown))
    assert again.predict_proba(X).tobytes() == grown.predict_proba(X).tobytes()
    np.testing.assert_array_equal(again.transform(X), grown.transform(X))
    assert again.history_ == grown.history_


def test_a_block_of_ones_own() -> None:
    def block(depth: int) -> keras.Layer:
        shape = [layers.Reshape((2, 2, 1))] if depth == 1 else []
        return keras.Sequential([*shape, layers.Conv2D(3, 2, padding="same", activation="relu")])

    grown = LayerwiseClassifier(**SHORT, block=block).fit(X, Y)
    assert grown.transform(X).shape == (150, 12)


ROWS = 60
x = np.random.default_rng(0).normal(size=(ROWS, 3))
y = (x[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(x, columns=["a", "b", "c"])


def bad(value: float) -> np.ndarray:
    wrong = x.copy()
    wrong[3, 1] = value
    return wrong


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


WORKS: dict[str, tuple[Any, Any]] = {
    "c": (x, y),
    "fortran": (np.asfortranarray(x), y),
    "strided": (np.repeat(x, 2, axis=0)[::2], np.repeat(y, 2)[::2]),
    "reversed": (x[:, ::-1], y),
    "read only": (read_only(x), read_only(y)),
    "float16": (x.astype("float16"), y),
    "float32": (x.astype("float32"), y),
    "longdouble": (x.astype("longdouble"), y),
    "int8": ((10 * x).astype("int8"), y),
    "uint64": (np.abs(100 * x).astype("uint64"), y),
    "bool": (x > 0, y),
    "object": (x.astype(object), y),
    "text numbers": (x.astype(str).astype(object), y),
    "list": (x.tolist(), y.tolist()),
    "tuple": (tuple(map(tuple, x)), tuple(y)),
    "pandas": (FRAME, pd.Series(y)),
    "pandas nullable": (FRAME.astype("Float64"), pd.Series(y, dtype="Int64")),
    "pandas index": (FRAME.set_axis(range(100, 100 + ROWS)), pd.Series(y, index=range(ROWS))),
    "polars": (pl.DataFrame(x, schema=["a", "b", "c"]), pl.Series(y)),
    "string labels": (x, np.array(["no", "yes"])[y]),
    "object labels": (x, np.array(["no", "yes"], object)[y]),
    "pandas categories": (x, pd.Categorical(np.array(["no", "yes"])[y])),
    "bool labels": (x, y.astype(bool)),
    "float labels": (x, y.astype(float)),
    "negative labels": (x, y - 7),
    "many classes": (np.tile(x, (2, 1)), np.tile(np.arange(ROWS) % 20, 2)),
    "a class of one row": (x, np.where(np.arange(ROWS) == 0, 9, y)),
    "one column": (x[:, :1], y),
    "two rows": (x[:2], [0, 1]),
    "constant column": (np.column_stack([x, np.ones(ROWS)]), y),
    "huge numbers": (1e30 * x, y),
    "offset": (1e9 + x, y),
}


@pytest.mark.parametrize("name", WORKS)
def test_inputs_that_work(name: str) -> None:
    """Labels come back as they went in, a probability for each, the same as for plain arrays."""
    rows, labels = WORKS[name]
    grown = LayerwiseClassifier(**SHORT, fine_tune=0).fit(rows, labels)
    given = np.asarray(labels)
    assert set(grown.predict(rows).tolist()) <= set(given.tolist())
    probabilities = grown.predict_proba(rows)
    assert probabilities.shape == (len(given), len(set(given.tolist())))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.isfinite(probabilities).all()
    if name in ("fortran", "strided", "read only", "object", "list", "pandas", "polars"):
        plain = LayerwiseClassifier(**SHORT, fine_tune=0).fit(x, y)
        np.testing.assert_array_equal(plain.predict_proba(x), probabilities)


FAILS: dict[str, tuple[Any, Any, str]] = {
    "nan": (bad(np.nan), y, "contains NaN"),
    "infinity": (bad(np.inf), y, "infinity"),
    "empty": (x[:0], y[:0], "minimum of 2 is required|0 sample"),
    "one row": (x[:1], y[:1], "n_samples=1|1 sample|one sample"),
    "no column": (x[:, :0], y, "0 feature"),
    "one axis": (x[:, 0], y, "Expected 2D array"),
    "three axes": (x[:, :, None], y, "dim 3"),
    "text": (np.array([["a", "b"]] * 4), [0, 1, 0, 1], "could not convert string"),
    "complex": (x + 1j, y, "Complex data not supported"),
    "sparse": (scipy.sparse.csr_matrix(x), y, "[Ss]parse"),
    "one class": (x, np.zeros(ROWS), "2 classes or more"),
    "lengths": (x, y[:-1], "inconsistent numbers of samples"),
    "nan label": (x, np.where(y, np.nan, 1.0), "NaN"),
    "continuous labels": (x, x[:, 0], "Unknown label type"),
    "two label columns": (x, np.column_stack([y, y]), "should be a 1d array"),
    "no labels": (x, None, "requires y"),
}


@pytest.mark.parametrize("name", FAILS)
def test_inputs_that_fail(name: str) -> None:
    rows, labels, message = FAILS[name]
    with pytest.raises((ValueError, TypeError), match=message):
        LayerwiseClassifier(**SHORT).fit(rows, labels)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample_weight": -np.ones(ROWS)}, "[Nn]egative"),
        ({"sample_weight": np.zeros(ROWS)}, "0|zero"),
        ({"sample_weight": np.ones(3)}, "sample_weight"),
        ({"sample_weight": np.full(ROWS, np.nan)}, "NaN"),
    ],
    ids=["negative", "all zero", "length", "nan"],
)
def test_weights_that_fail(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayerwiseClassifier(**SHORT).fit(x, y, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"validation_fraction": 1.0}, "`validation_fraction`"),
        ({"epochs": 0}, "`epochs`"),
        ({"objective": "nope"}, "nope"),
        ({"engine": "nope"}, "`engine`"),
        ({"max_depth": 0}, "`max_depth`"),
        ({"random_state": "now"}, "cannot be used to seed"),
        ({"learning_rate": -1.0}, "`learning_rate`"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parameters_that_fail(wrong: dict[str, Any], message: str) -> None:
    """Not when the object is made, as scikit-learn asks, but when it is fitted."""
    estimator = LayerwiseClassifier(**{**SHORT, **wrong})
    with pytest.raises(ValueError, match=message):
        estimator.fit(x, y)


def test_predictions_on_other_columns() -> None:
    grown = LayerwiseClassifier(**SHORT).fit(FRAME, y)
    with pytest.raises(ValueError, match=r"[Mm]issing"):
        grown.predict(FRAME[["a", "b"]])
    plain = LayerwiseClassifier(**SHORT).fit(x, y)
    with pytest.raises(ValueError, match="2 features, but"):
        plain.predict(x[:, :2])
    with pytest.raises(ValueError, match="feature names"):
        grown.predict(FRAME.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="NaN"):
        grown.predict(pd.DataFrame(bad(np.nan), columns=["a", "b", "c"]))


def test_a_column_of_labels_is_flattened_with_a_warning() -> None:
    # Keras warns about NumPy by itself, and would be heard here.
    with pytest.warns((DataConversionWarning, DeprecationWarning)) as heard:
        grown = LayerwiseClassifier(**SHORT).fit(x, y[:, None])
    assert DataConversionWarning in [warning.category for warning in heard]
    assert grown.predict(x).shape == (ROWS,)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform", "staged_predict"])
def test_before_fit(method: str) -> None:
    with pytest.raises(NotFittedError):
        list(getattr(LayerwiseClassifier(), method)(x))
