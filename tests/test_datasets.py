"""Data sets: what comes in, what is refused, how rows are dealt, and the sets with a name."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn import datasets as sk

from layerwise.datasets import NAMES, Dataset, _originals, load_dataset, weighted
from layerwise.errors import InputError, InputTypeError, LayerwiseError

ROWS = 20
# Column 0 is the number of the row, by which rows are recognised after a split.
X = np.stack([np.arange(ROWS), np.arange(ROWS) % 7], axis=1).astype("float32")
Y = np.arange(ROWS) % 2


def whole(x, y=None, **arguments):
    """Everything in the training split."""
    return Dataset.from_arrays(x, y, validation_split=0, **arguments)


# --- x


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *((name, "float32") for name in ("float16", "float32", "float64", "bool", "object")),
        *((name, name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32")),
        *((name, "int32") for name in ("int64", "uint64")),
        (">f4", "float32"),
        (">f8", "float32"),
    ],
)
def test_x_of_any_number_type(dtype, expected):
    x = X.astype(dtype)
    read = whole(x).train.x
    assert read.dtype == expected
    np.testing.assert_array_equal(read, x.astype("float64"))


def test_x_takes_the_float_type_of_keras():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        assert whole(X).train.x.dtype == "float64"
        assert whole(X, X[:, 0]).train.y.dtype == "float64"
    finally:
        keras.config.set_floatx(before)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "arrange",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        read_only,
        lambda x: x.tolist(),
        lambda x: [tuple(row) for row in x],
        lambda x: pd.DataFrame(x, columns=["a", "b"]),
        lambda x: pd.DataFrame({"a": x[:, 0].astype("int64"), "b": x[:, 1]}),
        lambda x: pd.DataFrame(x, columns=["a", "b"]).astype("Int64"),
        lambda x: pl.DataFrame(x, schema=["a", "b"]),
        lambda x: pl.DataFrame({"a": x[:, 0].astype("int64"), "b": x[:, 1]}),
        lambda x: keras.ops.convert_to_tensor(x),
    ],
    ids=[
        *("fortran", "strided", "reversed", "read-only", "lists", "tuples", "pandas"),
        *("pandas-mixed", "pandas-nullable", "polars", "polars-mixed", "tensor"),
    ],
)
def test_x_of_any_kind_and_layout(arrange):
    x = arrange(X)
    before = np.array(x, copy=True)
    read = whole(x).train.x
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, X)
    # What the user gave is only read.
    np.testing.assert_array_equal(np.asarray(x), before)


def test_x_and_y_from_pyarrow():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": X[:, 0], "b": X[:, 1]})
    data = whole(table, pa.chunked_array([pa.array(["u", "v"] * 10)]))
    np.testing.assert_array_equal(data.train.x, X)
    np.testing.assert_array_equal(data.train.y, Y)


def test_images_keep_their_shape():
    assert whole(np.zeros((ROWS, 4, 5, 3), "uint8")).train.x.shape == (ROWS, 4, 5, 3)


def with_value(value, row=3):
    x = X.copy()
    x[row, 1] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [lambda x: x, lambda x: x.astype("float16"), pd.DataFrame])
def test_x_must_be_finite_and_the_row_is_named(value, kind):
    x = with_value(value)
    x[7] = value
    with pytest.raises(InputError) as caught:
        whole(kind(x))
    assert str(caught.value) == (
        "`x` must be finite. Received NaN or infinity in 2 of 20 rows, first in row 3. "
        "Remove or impute them."
    )


def test_opposite_infinities_do_not_cancel():
    with pytest.raises(InputError, match="in 2 of 20 rows, first in row 0"):
        whole(np.where(np.arange(ROWS)[:, None] < 2, [[np.inf, -np.inf]], X))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[:, 0], InputError, r"Received shape \(20,\)\. .* pass `x\.reshape\(-1, 1\)`"),
        (3.0, InputError, r"Received shape \(\)"),
        (np.empty((0, 2)), InputError, r"`x` is empty: its shape is \(0, 2\)"),
        (np.empty((2, 0)), InputError, r"`x` is empty: its shape is \(2, 0\)"),
        ([[1, 2], [3]], InputTypeError, "`x` is not an array: its rows differ in shape"),
        (scipy.sparse.eye(5), InputTypeError, r"`x` is a sparse matrix\. Pass `x\.toarray\(\)`"),
        (scipy.sparse.csr_array(X), InputTypeError, r"Pass `x\.toarray\(\)`"),
        ([["red", "1"]] * 4, InputTypeError, "`x` must hold numbers.* such as .*'red'.*Encode"),
        (pd.DataFrame({"a": ["red"] * 4}), InputTypeError, "`x` must hold numbers.*'red'"),
        (pl.DataFrame({"a": ["red"] * 4}), InputTypeError, "`x` must hold numbers.*'red'"),
        ([[{}]] * 4, InputTypeError, "`x` must hold numbers"),
        ([[None, 1.0]] * 4, InputError, "`x` must be finite.*in 4 of 4 rows"),
    ],
)
def test_x_that_cannot_be_used(x, error, message):
    with pytest.raises(error, match=message) as caught:
        whole(x)
    assert isinstance(caught.value, LayerwiseError)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_large_integers_are_never_wrapped(dtype):
    x = (X + 2**40).astype(dtype)
    try:
        read = whole(x).train.x
    except InputError:
        return
    # Single precision keeps 24 bits.
    np.testing.assert_allclose(read.astype("float64"), x.astype("float64"), rtol=2**-23)


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">u2"])
def test_integers_of_another_byte_order_are_turned(dtype):
    x = X.astype(dtype)
    read = whole(x).train.x
    np.testing.assert_array_equal(read, X)
    # JAX refuses arrays of another byte order.
    assert read.dtype.isnative


@pytest.mark.parametrize("dtype", ["complex128", "datetime64[D]", "timedelta64[s]"])
def test_what_is_no_real_number_is_refused(dtype):
    with pytest.raises(InputTypeError, match="`x` must hold numbers"):
        whole(X.astype("int64").astype(dtype))


def test_the_value_shown_is_the_one_that_is_no_number():
    with pytest.raises(InputTypeError, match="'red'"):
        whole(pd.DataFrame({"size": [1.5] * 4, "colour": ["red"] * 4}))


def test_a_number_too_large_for_single_precision_is_refused_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="first in row 3"):
            whole(X.astype("float64") * np.where(np.arange(ROWS) == 3, 1e300, 1)[:, None])


# --- y


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (Y, [0, 1]),
        (Y.astype("uint8") * 5 + 2, [2, 7]),
        (Y - 1, [-1, 0]),
        (Y.astype(bool), [False, True]),
        (Y[:, None], [0, 1]),
        (Y.tolist(), [0, 1]),
        (["no", "yes"] * 10, ["no", "yes"]),
        (np.array(["no", "yes"] * 10, object), ["no", "yes"]),
        (np.array([b"no", b"yes"] * 10), [b"no", b"yes"]),
        (pd.Series(["no", "yes"] * 10), ["no", "yes"]),
        (pd.Series(["no", "yes"] * 10, dtype="category"), ["no", "yes"]),
        (pd.DataFrame({"y": Y}), [0, 1]),
        (pl.Series(["no", "yes"] * 10), ["no", "yes"]),
        (pl.Series(["no", "yes"] * 10, dtype=pl.Categorical), ["no", "yes"]),
        (pl.Series(Y == 1), [False, True]),
        (np.eye(2)[Y], [0, 1]),
        (np.eye(2, dtype="int64")[Y], [0, 1]),
        (np.eye(2, dtype=bool)[Y].tolist(), [0, 1]),
    ],
)
def test_labels_that_are_classes(y, classes):
    data = whole(X, y)
    assert data.labels.kind == "classes"
    assert data.classes.tolist() == classes
    assert data.train.y.dtype == "int32"
    np.testing.assert_array_equal(data.train.y, Y)


def test_one_hot_columns_without_a_row_are_classes_too():
    data = whole(X, np.eye(5)[Y * 3])
    assert data.classes.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(data.train.y, Y * 3)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (X[:, 0] / 3, X[:, :1] / 3),
        (X[:, :1], X[:, :1]),
        (X, X),
        (np.asfortranarray(X.astype("float64")), X),
        (X[:, 0].astype("float16"), X[:, :1]),
        (pd.Series(X[:, 0]), X[:, :1]),
        (pl.Series(X[:, 0]), X[:, :1]),
        (X.reshape(ROWS, 1, 2), X.reshape(ROWS, 1, 2)),
    ],
)
def test_labels_that_are_values(y, expected):
    data = whole(X, y)
    assert data.labels.kind == "values"
    assert data.labels.shape == expected.shape[1:]
    assert data.classes is None
    assert data.train.y.dtype == "float32"
    np.testing.assert_array_equal(data.train.y, expected)


def test_kind_overrules_the_type():
    counts = whole(X, np.arange(ROWS), kind="values")
    np.testing.assert_array_equal(counts.train.y, X[:, :1])
    np.testing.assert_array_equal(whole(X, Y * 0.5, kind="classes").train.y, Y)
    np.testing.assert_array_equal(whole(X, np.eye(2)[Y], kind="values").train.y, np.eye(2)[Y])


def test_without_labels():
    data = Dataset.from_arrays(X)
    assert data.labels is data.classes is data.train.y is data.validation.y is None


def changed(values, row, value):
    values = list(values)
    values[row] = value
    return values


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (Y[:-1], InputError, "`x` and `y` must have equally many rows. Received 20 and 19."),
        ([], InputError, "`x` and `y` must have equally many rows. Received 20 and 0."),
        (np.array([], int), InputError, "`y` is empty."),
        (Y * 0 + 1, InputError, "two classes.*in 20 rows"),
        (["yes"] * ROWS, InputError, "two classes.*'yes'.*in 20 rows"),
        (np.stack([Y, Y], axis=1), InputError, r"one label a row.*Received shape \(20, 2\)"),
        (np.eye(2)[Y] * 2, None, ""),
        (np.zeros((ROWS, 2, 2), int), InputError, r"one label a row.*Received shape \(20, 2, 2\)"),
        (changed(X[:, 0], 4, np.nan), InputError, "`y` must be finite.*1 of 20.*first in row 4"),
        (changed(["a", "b"] * 10, 4, None), InputError, "missing labels in 1 rows, first in row 4"),
        (pl.Series(changed(["a", "b"] * 10, 4, None)), InputError, "first in row 4"),
        (pd.Series(changed(["a", "b"] * 10, 4, None)), InputError, "first in row 4"),
        (pd.Series(changed(["a", "b"] * 10, 4, np.nan), dtype=object), InputError, "in row 4"),
        (np.array(["a", 1] * 10, object), InputTypeError, "`y` mixes labels of different types."),
        ([[1, 2], [3]], InputTypeError, "`y` is not an array: its rows differ in shape."),
        (scipy.sparse.eye(ROWS), InputTypeError, r"`y` is a sparse matrix"),
    ],
)
def test_labels_that_cannot_be_used(y, error, message):
    if error is None:
        # Rows of 0 and 2 are no one-hot rows, so these are values.
        assert whole(X, y).labels.kind == "values"
        return
    with pytest.raises(error, match=message):
        whole(X, y)


def test_missing_floats_as_classes():
    with pytest.raises(InputError, match="`y` has missing labels in 1 rows, first in row 2"):
        whole(X, changed(Y * 1.0, 2, np.nan), kind="classes")


@pytest.mark.parametrize("dtype", ["string", object])
def test_a_missing_label_of_pandas_is_missing(dtype):
    with pytest.raises(InputError, match="missing labels in 1 rows, first in row 4"):
        whole(X, pd.Series(changed(["a", "b"] * 10, 4, pd.NA), dtype=dtype))


def test_nan_among_strings_is_missing():
    with pytest.raises(InputError, match="missing labels in 1 rows, first in row 4"):
        whole(X, changed(["a", "b"] * 10, 4, float("nan")))


@pytest.mark.parametrize(
    "arguments",
    [
        {"y": ["a", "b"] * 10, "kind": "values"},
        {"y": Y, "kind": "class"},
        {"y": Y, "sample_weight": ["a"] * ROWS},
        {"y": Y, "sample_weight": changed(np.ones(ROWS), 3, np.inf)},
        {"y": Y, "validation_split": "a fifth"},
    ],
    ids=["text-as-values", "kind", "text-as-weight", "infinite-weight", "text-as-share"],
)
def test_senseless_arguments_are_errors_of_ours(arguments):
    with pytest.raises(LayerwiseError):
        Dataset.from_arrays(X, **arguments)


# --- splits


@pytest.mark.parametrize("seed", [0, 1, 2**32])
@pytest.mark.parametrize("fraction", [0.2, 0.35])
def test_the_split_is_stratified_disjoint_and_in_order(seed, fraction):
    rows = 400
    x = np.arange(rows, dtype="float32")[:, None]
    y = np.repeat(["a", "b", "c"], [40, 120, 240])[np.random.RandomState(3).permutation(rows)]
    weight = np.arange(rows) + 1.0
    data = Dataset.from_arrays(x, y, validation_split=fraction, sample_weight=weight, seed=seed)
    train, held = data.train.x[:, 0].astype(int), data.validation.x[:, 0].astype(int)
    assert np.union1d(train, held).tolist() == list(range(rows))
    assert len(train) + len(held) == rows
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()
    for label, count in (("a", 40), ("b", 120), ("c", 240)):
        # A whole number of rows: at most one off.
        assert abs((y[held] == label).sum() - fraction * count) < 1
    # Every part of a row stays together.
    for split, ids in ((data.train, train), (data.validation, held)):
        assert data.classes[split.y].tolist() == y[ids].tolist()
        np.testing.assert_array_equal(split.sample_weight, weight[ids])


def test_the_split_depends_on_the_seed_alone():
    def held(seed):
        return Dataset.from_arrays(X, Y, seed=seed).validation.x[:, 0].tolist()

    np.random.seed(1)
    first = held(0)
    np.random.seed(2)
    assert held(0) == first
    assert len({tuple(held(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("y", [None, X[:, 0]])
def test_a_split_without_classes_has_the_size_asked(y):
    data = Dataset.from_arrays(X, y, validation_split=0.3)
    assert (data.train.rows, data.validation.rows) == (14, 6)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, np.nan])
def test_a_share_that_is_none(share):
    with pytest.raises(InputError) as caught:
        Dataset.from_arrays(X, Y, validation_split=share)
    assert str(caught.value) == (
        "`validation_split` must be 0 or lie strictly between 0 and 1. "
        f"Received: {share!r}. Pass `validation_data=` to use rows of your own."
    )


@pytest.mark.parametrize(
    ("y", "share"),
    [
        # One row of a class cannot stand on both sides; one row cannot hold two classes.
        (changed(np.zeros(ROWS, int), 5, 1), 0.2),
        (Y, 0.01),
        (Y, 0.97),
        (X[:, 0], 0.99),
    ],
)
def test_a_share_that_these_rows_cannot_give(y, share):
    with pytest.raises(
        InputError, match=rf"^20 rows cannot be split with validation_split={share}"
    ) as caught:
        Dataset.from_arrays(X, y, validation_split=share)
    assert "`validation_data=`" in str(caught.value)


def test_own_rows_replace_the_split():
    data = Dataset.from_arrays(
        X.astype("int64"),
        ["no", "yes"] * 10,
        validation_data=(X[:4], ["yes", "no", "no", "yes"]),
        test_data=[X[4:6], ["no", "no"]],
    )
    assert list(data.splits) == ["train", "validation", "test"]
    assert [split.rows for split in data.splits.values()] == [20, 4, 2]
    assert data.validation.y.tolist() == [1, 0, 0, 1]
    assert data.test.y.tolist() == [0, 0]
    # One program serves all splits, so they share the type of the training rows.
    assert {split.x.dtype for split in data.splits.values()} == {np.dtype("int32")}


@pytest.mark.parametrize("labels", [Y, np.eye(2)[Y]], ids=["numbers", "one-hot"])
def test_a_split_may_lack_a_class(labels):
    data = Dataset.from_arrays(X, labels, validation_data=(X[:1], labels[:1]))
    assert data.validation.y.tolist() == [0]


@pytest.mark.parametrize("name", ["validation_data", "test_data"])
@pytest.mark.parametrize(
    ("y", "pair", "error", "message"),
    [
        (Y, (X, Y + 1), InputError, "{0} y` has the label .*2.* not among the 2 classes"),
        (["a", "b"] * 10, (X, ["a", "c"] * 10), InputError, "{0} y` has the label .*'c'"),
        (["a", "b"] * 10, (X, Y), InputError, "{0} y` has the label .*0"),
        (np.eye(2)[Y], (X, np.eye(3)[Y]), InputError, "{0} y` must be one-hot rows of 2 classes"),
        (np.eye(2)[Y], (X, Y), InputError, "{0} y` must be one-hot rows of 2 classes"),
        (X, (X, X[:, :1]), InputError, r"{0} y` must have rows of shape \(2,\). Received \(1,\)"),
        (X, (X, X * np.nan), InputError, "{0} y` must be finite.*first in row 0"),
        (Y, (X, Y[:3]), InputError, "`{0} x` and `{0} y` must .* Received 20 and 3"),
        (Y, (X, None), InputError, "`{0}` must have labels, as the training data have"),
        (Y, X, InputTypeError, r"`{0}` must be a pair \(x, y\). Received: 'ndarray'"),
        (Y, (X,), InputTypeError, r"`{0}` must be a pair \(x, y\). Received: 'tuple'"),
        (Y, (X[:, :1], Y), InputError, r"`{0}` must have samples of shape \(2,\).*\(1,\)"),
        (Y, (with_value(np.nan, 6), Y), InputError, "`{0} x` must be finite.*first in row 6"),
        (Y, (X[:, 0], Y), InputError, "`{0} x` must have a row for each sample"),
    ],
)
def test_other_splits_must_look_like_the_training_rows(name, y, pair, error, message):
    with pytest.raises(error, match=message.format(name)):
        Dataset.from_arrays(X, y, **{name: pair})


def test_labels_that_nobody_needs_are_left_out():
    assert Dataset.from_arrays(X, validation_data=(X, Y)).validation.y is None


def test_missing_validation_labels_are_named():
    y = np.array(["a", "b"] * 10, object)
    with pytest.raises(InputError, match="`validation_data y` has missing labels"):
        Dataset.from_arrays(X, y, validation_data=(X, changed(y, 3, None)))


@pytest.mark.parametrize(
    ("y", "other", "message"),
    [(Y, Y + 1, "has the label 2,"), (["a", "b"] * 10, ["c"] * ROWS, "has the label 'c',")],
)
def test_a_label_is_shown_as_the_user_wrote_it(y, other, message):
    with pytest.raises(InputError, match=message):
        Dataset.from_arrays(X, y, validation_data=(X, other))


# --- weights


@pytest.mark.parametrize(
    "weight",
    [
        np.ones(ROWS - 1),
        np.ones((ROWS, 1)),
        np.zeros(ROWS),
        changed(np.ones(ROWS), 2, -1),
        changed(np.ones(ROWS), 2, np.nan),
        [],
        1.0,
    ],
)
def test_weights_that_cannot_be_used(weight):
    with pytest.raises(InputError, match=r"`sample_weight` must be .* for 20 rows") as caught:
        whole(X, Y, sample_weight=weight)
    assert str(np.shape(weight)) in str(caught.value)


def test_class_weight_multiplies_sample_weight():
    weight = np.linspace(0, 2, ROWS)
    plain = Dataset.from_arrays(X, ["no", "yes"] * 10, sample_weight=weight)
    data = weighted(plain, {"yes": 3, "no": 0.5})
    rows = data.train.x[:, 0].astype(int)
    # Two roundings to single precision, of 2^-24 each, and a product of them.
    np.testing.assert_allclose(
        data.train.sample_weight, np.where(rows % 2, 3, 0.5) * weight[rows], rtol=3 * 2**-24
    )
    assert data.train.sample_weight.dtype == "float32"
    assert data.validation is plain.validation
    np.testing.assert_array_equal(plain.train.sample_weight, weight[rows].astype("float32"))


@pytest.mark.parametrize("y", [Y, np.eye(2)[Y]], ids=["numbers", "one-hot"])
def test_class_weight_alone(y):
    data = weighted(whole(X, y), {0: 1, 1: 2})
    np.testing.assert_array_equal(data.train.sample_weight, 1 + Y)


@pytest.mark.parametrize("y", [None, X[:, 0]])
def test_class_weight_needs_classes(y):
    with pytest.raises(InputError, match=r"`class_weight` needs labels that are classes\."):
        weighted(whole(X, y), {0: 1, 1: 1})


@pytest.mark.parametrize("weights", [{0: 1}, {0: 1, 1: 1, 2: 1}, {"0": 1, "1": 1}, {}])
def test_class_weight_needs_every_class_and_no_other(weights):
    with pytest.raises(InputError, match=r"`class_weight` must have the keys \[0, 1\]"):
        weighted(whole(X, Y), weights)


# --- fingerprint


def fingerprint(x=X, y=Y, **arguments):
    return Dataset.from_arrays(x, y, **arguments).fingerprint


@pytest.mark.parametrize(
    "x",
    [X.copy(), np.asfortranarray(X), X.astype("float64"), X.tolist(), pd.DataFrame(X)],
    ids=["copy", "fortran", "double", "lists", "pandas"],
)
def test_equal_data_have_equal_fingerprints(x):
    assert fingerprint(x) == fingerprint()
    assert len(fingerprint()) == 64


# Own validation rows, so that no change of the split hides behind a change of the data.
OWN = {"validation_data": (X, Y)}


@pytest.mark.parametrize(
    ("base", "other"),
    [
        (OWN, OWN | {"x": with_value(0.5)}),
        (OWN, OWN | {"x": with_value(np.nextafter(X[3, 1], np.float32(9)))}),
        (OWN, OWN | {"y": changed(Y, 3, 1 - Y[3])}),
        (OWN, OWN | {"x": X.astype("int32")}),
        (OWN, OWN | {"x": X.astype("uint8")}),
        ({"x": X.astype("uint8")}, {"x": X.astype("int8")}),
        ({"x": X.reshape(ROWS, 1, 2)}, {"x": X.reshape(ROWS, 2, 1)}),
        (OWN, {"validation_data": (with_value(0.5), Y)}),
        (OWN, {"validation_data": (X, 1 - Y)}),
        (OWN, {"test_data": (X, Y)}),
        (OWN, OWN | {"test_data": (X, Y)}),
        (OWN, OWN | {"sample_weight": np.ones(ROWS)}),
        (OWN, {"validation_split": 0}),
        ({}, {"seed": 1}),
        ({}, {"validation_split": 0.3}),
        ({"y": None}, {}),
        ({"y": Y * 0.5}, {"y": Y * 0.5, "kind": "classes"}),
    ],
)
def test_every_change_changes_the_fingerprint(base, other):
    assert fingerprint(**base) != fingerprint(**other)


def test_describe_is_plain_data():
    import json

    data = Dataset.from_arrays(X, ["no", "yes"] * 10, test_data=(X, ["no"] * 20), name="mine")
    described = data.describe()
    assert json.loads(json.dumps(described)) == {
        "name": "mine",
        "rows": {"train": 16, "validation": 4, "test": 20},
        "shape": [2],
        "dtype": "float32",
        "kind": "classes",
        "classes": ["no", "yes"],
        "fingerprint": data.fingerprint,
    }
    assert whole(X).describe()["kind"] is None


# --- data sets with a name


def test_blobs_are_those_of_the_tutorials():
    x, y = sk.make_blobs(n_samples=1000, centers=3, n_features=2, cluster_std=2, random_state=2)
    data = load_dataset("blobs", validation_split=0)
    assert data.validation is None
    np.testing.assert_array_equal(data.train.x, x[:500].astype("float32"))
    np.testing.assert_array_equal(data.train.y, y[:500])
    np.testing.assert_array_equal(data.test.x, x[500:].astype("float32"))
    np.testing.assert_array_equal(data.test.y, y[500:])


def test_the_test_rows_of_blobs_do_not_depend_on_the_seed():
    data = [load_dataset("blobs", seed=seed) for seed in (0, 1)]
    assert [split.rows for split in data[0].splits.values()] == [400, 100, 500]
    np.testing.assert_array_equal(data[0].test.x, data[1].test.x)
    assert not np.array_equal(data[0].validation.x, data[1].validation.x)


def sorted_rows(x):
    return x[np.lexsort(x.T)]


def test_digits_are_all_there_from_0_to_1():
    data = load_dataset("digits")
    assert [split.rows for split in data.splits.values()] == [1077, 270, 450]
    found = np.concatenate([np.c_[s.x, s.y] for s in data.splits.values()])
    x, y = sk.load_digits(return_X_y=True)
    # Sixteenths are exact in single precision.
    np.testing.assert_array_equal(sorted_rows(found), sorted_rows(np.c_[x / 16, y]))
    assert (found[:, :64].min(), found[:, :64].max()) == (0, 1)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "iris", "wine"])
@pytest.mark.parametrize("share", [0, 0.2])
def test_tables_are_standardized_by_their_training_rows(name, share):
    data = load_dataset(name, validation_split=share)
    x, y = getattr(sk, f"load_{name}")(return_X_y=True)
    assert sum(split.rows for split in data.splits.values()) == len(x)
    assert data.test.rows == int(np.ceil(len(x) / 4))
    parts = [data.train.x] if name != "diabetes" else [data.train.x, data.train.y]
    for part in parts:
        double = part.astype("float64")
        # The statistics were taken in single precision over a few hundred rows.
        np.testing.assert_allclose(double.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(double.std(axis=0), 1, atol=1e-5)
    # Other rows must not enter the statistics.
    assert np.abs(data.test.x.astype("float64").mean(axis=0)).max() > 1e-3
    # One affine map a column takes the original table to ours: the correlation is 1.
    ours = np.concatenate([s.x for s in data.splits.values()]).astype("float64")
    for column in range(x.shape[1]):
        both = np.sort(ours[:, column]), np.sort(x[:, column])
        assert np.corrcoef(*both)[0, 1] == pytest.approx(1, abs=1e-6)
    assert data.labels.kind == ("values" if name == "diabetes" else "classes")
    if name != "diabetes":
        counts = sum(np.bincount(s.y, minlength=len(data.classes)) for s in data.splits.values())
        np.testing.assert_array_equal(counts, np.bincount(y))


def test_the_seed_deals_the_rows_of_a_table():
    same = load_dataset("iris", seed=1).fingerprint
    assert load_dataset("iris", seed=1).fingerprint == same
    assert load_dataset("iris", seed=2).fingerprint != same


def test_an_unknown_name_gets_the_list():
    with pytest.raises(InputError) as caught:
        load_dataset("imagenet")
    assert str(caught.value) == (f"Unknown data set 'imagenet'. Choose one of: {', '.join(NAMES)}.")
    assert {"blobs", "digits", "iris", "mnist", "fashion-mnist", "cifar10"} <= set(NAMES)


# --- original files

MD5_OF_NO_DATA = "42c4d8746ae597c8db2724998063b0f5"

FILES = {"mnist": _originals._MNIST, "fashion-mnist": _originals._FASHION} | {
    "cifar10": _originals._CIFAR10
}


def original_folder(root: Path, name: str, content: dict[str, bytes]) -> Path:
    folder = root / {"cifar10": "cifar-10-batches-py"}.get(name, name)
    folder.mkdir()
    for file, data in content.items():
        (folder / file).write_bytes(data)
    return folder


def accept(monkeypatch, name, content):
    """Declare these bytes the originals."""
    import hashlib

    for file, data in content.items():
        monkeypatch.setitem(FILES[name], file, hashlib.md5(data).hexdigest())


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, name):
    original_folder(tmp_path, name, {})
    with pytest.raises(InputError) as caught:
        load_dataset(name, data_dir=tmp_path)
    message = str(caught.value)
    first = next(iter(FILES[name]))
    assert first in message.split(" is missing. ")[0]
    assert all(file in message for file in FILES[name])
    assert "\n" not in message


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_file_that_is_not_the_original_is_named(tmp_path, monkeypatch, name, by):
    content = dict.fromkeys(FILES[name], b"no data")
    last = list(content)[-1]
    accept(monkeypatch, name, {file: data for file, data in content.items() if file != last})
    folder = original_folder(tmp_path, name, content)
    monkeypatch.setenv("LAYERWISE_DATA", str(tmp_path if by == "environment" else "/nowhere"))
    with pytest.raises(InputError) as caught:
        load_dataset(name, data_dir=tmp_path if by == "argument" else None)
    # MD5 of b"no data", from md5sum.
    assert str(caught.value) == (
        f"{folder / last} is not the original file: its MD5 is "
        f"{MD5_OF_NO_DATA}, expected {FILES[name][last]}."
    )


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrong", ["data_batch_1", "data_batch_3", "test_batch"])
def test_nothing_is_unpickled_unless_every_file_is_the_original(tmp_path, monkeypatch, wrong):
    trace = tmp_path / "executed"
    payload = pickle.dumps(Malicious(trace))
    pickle.loads(payload)
    assert trace.exists(), "the payload must work, or this test shows nothing"
    trace.unlink()
    content = dict.fromkeys(FILES["cifar10"], payload)
    accept(monkeypatch, "cifar10", {f: data for f, data in content.items() if f != wrong})
    original_folder(tmp_path, "cifar10", content)
    with pytest.raises(InputError, match=rf"{wrong} is not the original file"):
        load_dataset("cifar10", data_dir=tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_read_as_written(tmp_path, monkeypatch, name):
    random = np.random.RandomState(0)
    pixels = {"train": random.randint(0, 256, (6, 28, 28)), "t10k": np.full((2, 28, 28), 255)}
    labels = {"train": [3, 1, 3, 1, 3, 1], "t10k": [1, 3]}
    content = {}
    for part, images in pixels.items():
        header = struct.pack(">iiii", 2051, len(images), 28, 28)
        data = gzip.compress(header + images.astype("uint8").tobytes())
        content[f"{part}-images-idx3-ubyte.gz"] = data
        header = struct.pack(">ii", 2049, len(images))
        content[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(header + bytes(labels[part]))
    accept(monkeypatch, name, content)
    original_folder(tmp_path, name, content)
    data = load_dataset(name, data_dir=tmp_path, validation_split=0)
    assert data.train.x.dtype == "float32"
    # A division in single precision is correctly rounded: half a unit in the last place.
    np.testing.assert_allclose(data.train.x, pixels["train"] / 255, rtol=2**-24)
    np.testing.assert_array_equal(data.test.x, np.ones((2, 28, 28)))
    assert data.classes[data.train.y].tolist() == labels["train"]
    assert data.classes[data.test.y].tolist() == labels["t10k"]
    assert load_dataset(name, data_dir=tmp_path, validation_split=0.4).validation.x.max() <= 1


def test_cifar_batches_are_read_in_order_and_channels_come_last(tmp_path, monkeypatch):
    random = np.random.RandomState(0)
    raw = {file: random.randint(0, 256, (2, 3072)).astype("uint8") for file in FILES["cifar10"]}
    content = {
        file: pickle.dumps({b"data": data, b"labels": [i % 2, 1 - i % 2]})
        for i, (file, data) in enumerate(raw.items())
    }
    accept(monkeypatch, "cifar10", content)
    original_folder(tmp_path, "cifar10", content)
    data = load_dataset("cifar10", data_dir=str(tmp_path), validation_split=0)
    assert data.train.x.shape == (10, 32, 32, 3)
    assert data.test.x.shape == (2, 32, 32, 3)
    for image, row, column, channel in random.randint(0, [10, 32, 32, 3], (50, 4)):
        value = raw[f"data_batch_{image // 2 + 1}"][image % 2, channel * 1024 + row * 32 + column]
        assert data.train.x[image, row, column, channel] == np.float32(value) / np.float32(255)
    assert data.train.y.tolist() == [0, 1, 1, 0, 0, 1, 1, 0, 0, 1]
    assert data.test.y.tolist() == [1, 0]


def test_without_a_folder_keras_loads_the_set(monkeypatch):
    monkeypatch.delenv("LAYERWISE_DATA", raising=False)
    images = np.full((4, 32, 32, 3), 51, "uint8")
    labels = np.array([[7], [2], [2], [7]], "uint8")
    monkeypatch.setattr(
        keras.datasets.cifar10, "load_data", lambda: ((images, labels), (images, labels))
    )
    data = load_dataset("cifar10", validation_split=0)
    assert data.train.y.tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(np.unique(data.test.x), [np.float32(0.2)])


@pytest.mark.parametrize("name", FILES)
def test_without_a_folder_or_a_connection_the_user_is_told_what_to_do(monkeypatch, name):
    monkeypatch.delenv("LAYERWISE_DATA", raising=False)

    def offline():
        raise OSError("[Errno -3] Temporary failure in name resolution")

    module = getattr(keras.datasets, name.replace("-", "_"))
    monkeypatch.setattr(module, "load_data", offline)
    with pytest.raises(InputError, match=r"could not be downloaded\. .*LAYERWISE_DATA") as caught:
        load_dataset(name)
    assert ("cifar-10-batches-py/" if name == "cifar10" else f"{name}/") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("mnist", [5, 0, 4, 1, 9], [7, 2, 1, 0, 4]),
        ("fashion-mnist", [9, 0, 0, 3, 0], [9, 2, 1, 1, 6]),
    ],
)
def test_the_real_mnist_and_fashion_mnist(data_dir, name, train, test):
    data = load_dataset(name, data_dir=data_dir, validation_split=0)
    assert data.train.x.shape == (60000, 28, 28)
    assert data.test.x.shape == (10000, 28, 28)
    assert data.train.y[:5].tolist() == train
    assert data.test.y[:5].tolist() == test
    assert np.bincount(data.test.y).shape == (10,)
    with gzip.open(data_dir / name / "train-images-idx3-ubyte.gz") as stream:
        assert struct.unpack(">iiii", stream.read(16)) == (2051, 60000, 28, 28)
        for image in range(3):
            pixels = np.array(list(stream.read(784)), "float32").reshape(28, 28)
            np.testing.assert_array_equal(data.train.x[image], pixels / np.float32(255))
    assert (data.train.x.min(), data.train.x.max()) == (0, 1)


def test_the_real_cifar10(data_dir):
    data = load_dataset("cifar10", data_dir=data_dir)
    assert [split.rows for split in data.splits.values()] == [40000, 10000, 10000]
    assert data.train.x.shape[1:] == (32, 32, 3)
    # Stratified: the published training part has 5000 images of each class.
    assert np.bincount(data.validation.y).tolist() == [1000] * 10
    assert data.test.y[:5].tolist() == [3, 8, 8, 0, 6]
    assert np.bincount(data.test.y).tolist() == [1000] * 10
    batch = pickle.loads(
        (data_dir / "cifar-10-batches-py" / "test_batch").read_bytes(), encoding="latin1"
    )
    for image, row, column, channel in [(0, 0, 0, 0), (1, 5, 9, 1), (2, 31, 0, 2), (9999, 7, 8, 0)]:
        value = batch["data"][image][channel * 1024 + row * 32 + column]
        assert data.test.x[image, row, column, channel] == np.float32(value) / np.float32(255)
    assert (data.test.x.min(), data.test.x.max()) == (0, 1)


def test_the_real_cifar10_starts_with_a_frog(data_dir):
    (_, y), _ = _originals.load("cifar10", data_dir)
    assert y[:5].tolist() == [6, 9, 9, 4, 1]


ABALONE_ROWS = (
    "M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15\nF,0.53,0.42,0.135,0.677,0.2565,0.1415,0.21,9\n"
)


def abalone(tmp_path, monkeypatch, rows=3000):
    """A file of two known rows and others by a rule, accepted as the original."""
    random = np.random.RandomState(0).random((rows - 2, 7))
    more = "".join(
        f"{'MFI'[i % 3]},{','.join(f'{v:.4f}' for v in values)},{1 + i % 20}\n"
        for i, values in enumerate(random)
    )
    folder = tmp_path / "abalone"
    folder.mkdir()
    text = (ABALONE_ROWS + more).encode()
    (folder / "abalone.data").write_bytes(text)
    sums = {"abalone.data": hashlib.md5(text).hexdigest()}
    monkeypatch.setitem(_originals._FOLDERS, "abalone", ("abalone", sums))
    return random


def test_abalone_is_read_and_standardized(tmp_path, monkeypatch):
    random = abalone(tmp_path, monkeypatch)
    (x, y), (x_test, y_test) = _originals.load("abalone", tmp_path)
    np.testing.assert_allclose(
        x[:2],
        [
            [0, 0, 1, 0.455, 0.365, 0.095, 0.514, 0.2245, 0.101, 0.15],
            [1, 0, 0, 0.53, 0.42, 0.135, 0.677, 0.2565, 0.1415, 0.21],
        ],
        rtol=1e-6,
    )
    assert y[:4].tolist() == [15, 9, 1, 2]
    assert (len(x), len(x_test), len(y_test)) == (2000, 1000, 1000)
    np.testing.assert_allclose(x_test[-1, 3:], random[-1], atol=1e-4)
    data = load_dataset("abalone", data_dir=tmp_path)
    assert data.labels.kind == "values"
    np.testing.assert_allclose(data.train.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(data.train.x.std(axis=0), 1, atol=1e-5)
    assert set(data.train.y.ravel().tolist()) <= set(range(1, 21)), "rings stay rings"


def test_abalone_must_be_at_hand(monkeypatch):
    monkeypatch.delenv("LAYERWISE_DATA", raising=False)
    with pytest.raises(InputError, match=r"Keras has no data set abalone\. .*--data-dir"):
        load_dataset("abalone")


def test_the_real_abalone(data_dir):
    (x, y), (x_test, _) = _originals.load("abalone", data_dir)
    assert (x.shape, x_test.shape) == ((3177, 10), (1000, 10))
    assert y[:3].tolist() == [15, 7, 9]
    assert np.concatenate([x, x_test])[:, :3].sum(axis=0).tolist() == [1307, 1342, 1528]
