"""Tables: what is found in columns, how they become numbers, and what is refused.

Trusted: scikit-learn's SimpleImputer, StandardScaler and OneHotEncoder in float64. Our numbers are
float32 at the end, so they may differ by 1e-6 of a standard deviation.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from layerwise.datasets import Dataset
from layerwise.errors import (
    DamagedError,
    InputError,
    InputTypeError,
    LayerwiseError,
    MissingDependencyError,
)
from layerwise.memory import is_mapped
from layerwise.tables import Preparation, Table, _csv, _preparation, open_table

ROWS = 200
NUMBERS, TEXTS = ["size", "year", "ratio"], ["colour", "town"]


def people(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Numbers, some missing, some far from 0; categories, some rare, some missing; a boolean."""
    rng = np.random.default_rng(seed)
    size = rng.normal(5, 3, rows)
    frame = pd.DataFrame(
        {
            "size": np.where(rng.random(rows) < 0.1, np.nan, size),
            "year": rng.integers(1_600_000_000, 1_600_000_500, rows),
            "ratio": rng.permutation(rows) * 1.5,
            "member": rng.random(rows) < 0.3,
            "colour": rng.choice(["red", "green", "blue"], rows),
            "town": rng.choice(["Bonn", "Köln", "Ulm, Donau", None], rows, p=[0.5, 0.2, 0.2, 0.1]),
            "label": rng.choice(["no", "yes"], rows),
        }
    )
    frame.loc[[3, rows - 1], "colour"] = ["mauve", "teal"]
    return frame


def from_table(source: Any, target: str = "label", **arguments: Any) -> Dataset:
    return Dataset.from_table(source, target=target, **arguments)


def saved(frame: pd.DataFrame, name: str) -> Path:
    path = Path(name)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return path


def training_rows(data: Dataset, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that were for training, recognised by a column that tells them apart."""
    assert frame["ratio"].is_unique
    order = np.argsort(frame["ratio"].to_numpy())
    column = data.preparation.features.index("ratio")
    scaled = (frame["ratio"].to_numpy() - _code(data, "ratio").mean) / _code(data, "ratio").scale
    near = np.searchsorted(scaled[order], data.train.x[:, column] - 1e-5)
    return frame.iloc[order[near]]


def _code(data: Dataset, name: str) -> Any:
    return next(code for code in data.preparation.codes if code.name == name)


def expected_inputs(train: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """The same by scikit-learn in float64, columns in the table's order."""
    number = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    names = [*NUMBERS, *TEXTS]
    texts = OneHotEncoder(
        handle_unknown="ignore", min_frequency=3, sparse_output=False, dtype=np.float64
    )
    plain = {
        name: rows[name].astype(object).where(rows[name].notna(), "~missing") for name in TEXTS
    }
    known = {
        name: train[name].astype(object).where(train[name].notna(), "~missing") for name in TEXTS
    }
    scaler = ColumnTransformer([("numbers", number, NUMBERS)]).fit(train[names])
    scaled = scaler.transform(rows[names])
    blocks = [scaled[:, :1], rows[["size"]].isna(), scaled[:, 1:], rows[["member"]]]
    for name in TEXTS:
        encoder = texts.fit(known[name].to_frame())
        made = encoder.transform(plain[name].to_frame())
        if name == "town":  # `~missing` sorts last, as ours stands.
            assert encoder.categories_[0][-1] == "~missing"
        blocks.append(made)
    return np.concatenate([np.asarray(block, np.float64) for block in blocks], axis=1)


@pytest.mark.parametrize(
    "given",
    [
        lambda frame: frame,
        pl.from_pandas,
        lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
        lambda frame: saved(frame, "people.csv"),
        lambda frame: str(saved(frame, "people.parquet")),
    ],
    ids=["pandas", "polars", "pyarrow", "csv", "parquet"],
)
def test_a_table_becomes_what_scikit_learn_makes_of_it(given):
    frame = people()
    data = from_table(given(frame))
    train = training_rows(data, frame)
    assert len(train) == data.train.rows == 160
    np.testing.assert_allclose(data.train.x, expected_inputs(train, train), rtol=0, atol=1e-6)
    # Rows that were not there to learn from, in another order of columns.
    new = people(50, seed=1)[[*reversed(frame.columns)]]
    made = data.preparation.transform(given(new))
    assert (made.dtype, made.shape) == (np.float32, (50, len(data.preparation.features)))
    np.testing.assert_allclose(made, expected_inputs(train, new), rtol=0, atol=1e-6)


def test_labels_stay_with_their_rows():
    frame = people()
    data = from_table(frame)
    train = training_rows(data, frame)
    assert data.classes.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(data.classes[data.train.y], train["label"])
    # Of the 40 others, stratified.
    assert data.validation.rows == 40
    shares = np.bincount(data.validation.y) / 40
    np.testing.assert_allclose(shares, frame["label"].value_counts(True)[["no", "yes"]], atol=0.03)


def test_only_the_training_rows_are_learned_from():
    frame = people()
    data = from_table(frame)
    rows = training_rows(data, frame).index
    held_out = frame.index.difference(rows)
    frame.loc[held_out, "ratio"] *= 1000
    frame.loc[held_out, "colour"] = "violet"
    frame.loc[held_out, "size"] = np.nan
    again = from_table(frame)
    assert again.preparation == data.preparation
    assert any("violet" in warning for warning in again.findings.warnings)


def test_each_input_has_a_name():
    assert from_table(people()).preparation.features == (
        *("size", "size (missing)", "year", "ratio", "member"),
        *("colour = blue", "colour = green", "colour = red", "colour = (rare)"),
        *("town = Bonn", "town = Köln", "town = Ulm, Donau", "town = (missing)"),
    )


def test_scores_of_values_are_explained():
    frame = pd.DataFrame({"a": [1.0, 2.0, 4.0] * 20, "y": [0.5, 10.5, 100.5] * 20})
    data = from_table(frame, "y", validation_split=0)
    spread = np.std(frame["y"])
    assert data.findings.target.endswith(f"mean {frame['y'].mean():g}, spread {spread:g})")


def test_values_are_standardized_and_read_back():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"ratio": rng.permutation(100) * 1.5, "price": rng.lognormal(12, 1, 100)})
    data = from_table(frame, "price")
    assert data.labels.kind == "values"
    assert abs(data.train.y.mean()) < 1e-6
    assert abs(data.train.y.std() - 1) < 1e-6
    train = training_rows(data, frame)
    np.testing.assert_allclose(
        data.preparation.target.read(data.train.y), train["price"], rtol=1e-6
    )


# --- what is found


def found(frame: pd.DataFrame, **arguments: Any) -> dict[str, tuple[str, int, int]]:
    """Kind, missing training rows and inputs of each column; all rows are for training."""
    data = from_table(frame, validation_split=0, **arguments)
    return {f.name: (f.kind, f.missing, f.inputs) for f in data.findings.columns}


def test_the_kinds_of_columns():
    n = 60
    labels = ["a", "b"] * (n // 2)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "whole": rng.integers(0, 3, n),
            "number": [None, None, *rng.normal(size=n - 2)],
            "flag": rng.random(n) < 0.5,
            "maybe": pd.array([None, *(rng.random(n - 1) < 0.5)], dtype="boolean"),
            "kind": rng.choice(["x", "y", "z"], n),
            "coded": pd.Categorical(rng.choice(["u", "v"], n)),
            "same": 3,
            "alike": "word",
            "once": [None, *[1.0] * (n - 1)],
            "nothing": [None] * n,
            "when": pd.date_range("2020-01-01", periods=n),
            "label": labels,
        }
    )
    frame["twin"] = frame["kind"]
    assert found(frame, drop=["when"]) == {
        "whole": ("number", 0, 1),
        "number": ("number", 2, 2),
        "flag": ("boolean", 0, 1),
        "maybe": ("boolean", 1, 2),
        "kind": ("category", 0, 3),
        "coded": ("category", 0, 2),
        "same": ("constant", 0, 0),
        "alike": ("constant", 0, 0),
        "once": ("number", 1, 2),
        "nothing": ("empty", n, 0),
        "when": ("left out", 0, 0),
        "twin": ("duplicate", 0, 0),
    }


def test_what_is_left_out_is_said():
    frame = people().assign(same=1, nothing=None, twin=lambda f: f["ratio"])
    warnings = from_table(frame).findings.warnings
    for name, why in {"same": "constant", "nothing": "empty", "twin": "equal to 'ratio'"}.items():
        assert any(repr(name) in text and why in text for text in warnings), name


@pytest.mark.parametrize(
    ("column", "leaks"),
    [
        (lambda f: f["label"].map({"no": "N", "yes": "Y"}), True),
        (lambda f: f["label"].map({"no": 7, "yes": 3}), True),
        (lambda f: f["label"] == "yes", True),
        (lambda f: f["label"].where(f.index != 17, "no"), False),
        (lambda f: f["ratio"], False),
    ],
    ids=["text", "number", "boolean", "one row differs", "another number"],
)
def test_a_column_that_gives_the_classes_away_is_warned_about(column, leaks):
    frame = people()
    frame.loc[17, "label"] = "yes"
    frame = frame.assign(copy=column(frame)).drop(columns="ratio")
    data = from_table(frame, validation_split=0)
    told = [text for text in data.findings.warnings if "tells the target" in text]
    assert [("'copy'" in text) for text in told] == [True] * leaks


@pytest.mark.parametrize(
    ("column", "leaks"),
    [
        (lambda y: y, True),
        (lambda y: 3 - y / 100, True),
        (lambda y: np.argsort(np.argsort(y)), False),
        (lambda y: y + np.random.default_rng(1).normal(0, 0.01, len(y)), False),
        (lambda y: np.arange(len(y)), False),
    ],
    ids=["equal", "another unit", "ranks", "nearly", "row numbers"],
)
def test_a_column_that_gives_the_values_away_is_warned_about(column, leaks):
    rng = np.random.default_rng(0)
    y = rng.normal(size=100)
    frame = pd.DataFrame({"a": rng.normal(size=100), "copy": column(y), "y": y})
    told = [text for text in from_table(frame, "y").findings.warnings if "tells the target" in text]
    assert len(told) == leaks


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (["a", "b"] * 50, "classes", "2 classes (texts)"),
        ([True, False] * 50, "classes", "true and false"),
        ([0, 1, 2, 3] * 25, "classes", "4 classes (4 different whole numbers; `--task values`"),
        ([0.0, 1.0] * 50, "classes", "2 different whole numbers"),
        (list(range(100)), "values", "100 different whole numbers"),
        (list(range(20)) * 5, "classes", "20 classes"),
        ([*range(21)] * 4 + [0] * 16, "values", "21 different whole numbers"),
        ([0.5, 1.0] * 50, "values", "numbers with fractions"),
    ],
    ids=["text", "boolean", "few", "few as floats", "many", "20", "21", "fractions"],
)
def test_the_task_is_found_out(values, kind, said):
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=100), "y": values})
    data = from_table(frame, "y", validation_split=0)
    assert data.labels.kind == kind
    assert said in data.findings.target


def test_the_task_can_be_said():
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=60), "y": [1, 2, 4] * 20})
    data = from_table(frame, "y", task="values")
    assert data.labels.kind == "values"
    np.testing.assert_allclose(np.unique(data.preparation.target.read(data.train.y)), [1, 2, 4])
    assert from_table(frame.assign(y=[0.5, 1.5] * 30), "y", task="classes").classes.tolist() == [
        0.5,
        1.5,
    ]
    with pytest.raises(InputError, match="must hold numbers"):
        from_table(frame.assign(y=["a", "b"] * 30), "y", task="values")
    with pytest.raises(InputError, match="`task`"):
        from_table(frame, "y", task="ranks")


def test_rows_without_a_target_are_refused_or_join_the_others():
    frame = people()
    frame.loc[[4, 10, 11], "label"] = None
    with pytest.raises(InputError, match=r"missing in 3 of 200 rows, first in row 5\. .*unlabeled"):
        from_table(frame)
    data = from_table(frame, unlabeled=True)
    assert (data.train.rows + data.validation.rows, data.unlabeled.rows) == (197, 3)
    expected = data.preparation.transform(frame.iloc[[4, 10, 11]])
    np.testing.assert_array_equal(data.unlabeled.x, expected)
    assert any("3 rows have no target" in text for text in data.findings.warnings)


def test_a_test_table_is_prepared_as_the_training_rows_were():
    frame, other = people(), people(30, seed=2)
    data = from_table(saved(frame, "people.csv"), test=saved(other, "other.csv"))
    np.testing.assert_array_equal(data.test.x, data.preparation.transform(other))
    np.testing.assert_array_equal(data.classes[data.test.y], other["label"])
    other.loc[2, "label"] = "perhaps"
    with pytest.raises(InputError, match="the label 'perhaps'"):
        from_table(frame, test=other)


def test_columns_and_rows_of_npz():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    np.savez("data.npz", x=x, y=y)
    data = Dataset.from_table("data.npz", target="y", validation_split=0)
    np.testing.assert_allclose(data.train.x, StandardScaler().fit_transform(x), atol=1e-6)
    np.testing.assert_array_equal(data.train.y, y)
    assert data.preparation.features == ("x0", "x1", "x2")


@pytest.mark.parametrize("name", ["a.b", "a b", "Größe", 'say "x"', "a,b", "__proto__", "%s {x}"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_may_have_any_name(name, ending):
    frame = pd.DataFrame({name: np.random.default_rng(0).normal(size=20), "y": [0, 1] * 10})
    assert from_table(saved(frame, f"a.{ending}"), "y").preparation.features == (name,)


def test_codes_that_look_like_numbers_stay_texts():
    """`07` is a text where training had `7A` beside it, also in a file that has numbers alone."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"code": rng.choice(["07", "8", "7A"], 90), "y": rng.choice([0, 1], 90)})
    Path("b.csv").write_text("code,y\n8,1\n07,0\n")
    data = from_table(saved(frame, "a.csv"), "y", test="b.csv")
    assert data.preparation.features == ("code = 07", "code = 7A", "code = 8")
    assert data.preparation.transform("b.csv").tolist() == [[0, 0, 1], [1, 0, 0]]
    assert data.test.x.tolist() == [[0, 0, 1], [1, 0, 0]]
    numbers = pd.DataFrame({"code": [8, None]})
    assert data.preparation.transform(numbers).tolist() == [[0, 0, 1], [0, 0, 0]]


def test_classes_that_look_like_numbers_stay_texts():
    frame = pd.DataFrame(
        {"a": np.random.default_rng(0).normal(size=60), "y": ["01", "2", "x"] * 20}
    )
    Path("b.csv").write_text("a,y\n1,2\n2,01\n")
    data = from_table(saved(frame, "a.csv"), "y", test="b.csv")
    assert data.classes[data.test.y].tolist() == ["2", "01"]


def test_rare_values_share_a_column():
    """Three rows of training are enough for a column of one's own, two are not."""
    kinds = ["a"] * 20 + ["b"] * 3 + ["c"] * 2 + ["d"]
    frame = pd.DataFrame({"kind": kinds, "y": [0.5, 1.0] * 13})
    preparation = from_table(frame, "y", validation_split=0).preparation
    assert preparation.features == ("kind = a", "kind = b", "kind = (rare)")
    made = preparation.transform(pd.DataFrame({"kind": ["a", "b", "c", "d", "e"]}))
    assert made.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    many = pd.DataFrame({"kind": [f"{i:03}" for i in range(120)] * 3 + ["000"] * 40, "y": 0.5})
    many.loc[::2, "y"] = 1.5
    assert len(from_table(many, "y", validation_split=0).preparation.features) == 101
    with pytest.raises(InputError, match="numbers that are written as texts"):
        from_table(many.head(120), "y", validation_split=0)
    few = pd.DataFrame({"kind": ["a", "b"] * 2, "a": [1, 2, 3, 5], "y": [0.5, 1.5, 2, 3]})
    data = from_table(few, "y", validation_split=0)
    assert data.preparation.features == ("a",)
    assert any("No value of the column 'kind'" in text for text in data.findings.warnings)


def test_what_a_new_table_brings_is_reported():
    preparation = from_table(people()).preparation
    new = people(20, seed=3).drop(columns="label").assign(more=1)
    new.loc[[0, 1, 2], "colour"] = ["pink", "pink", None]
    new.loc[5, "ratio"] = None
    made, report = preparation.transform_with_report(new)
    assert report.extra == ("more",)
    assert dict(report.unseen["colour"]) == {"pink": 2, "(missing)": 1, "mauve": 1}
    assert report.filled == {"ratio": 1}
    start = preparation.features.index("colour = blue")
    assert not made[:3, start : start + 4].any()
    code = next(code for code in preparation.codes if code.name == "ratio")
    expected = (code.median - code.mean) / code.scale
    assert made[5, preparation.features.index("ratio")] == pytest.approx(expected, abs=1e-6)
    text = " ".join(report.sentences("new.csv"))
    for fragment in ("'more'", "4 rows", "'pink'", "1 missing value of 'ratio'"):
        assert fragment in text
    with pytest.raises(InputError, match=r"It lacks 'colour', 'size'|It lacks 'size', 'colour'"):
        preparation.transform(new.drop(columns=["colour", "size"]))
    # The row that is wrong is named, not the first of those that became texts beside it.
    mixed = pd.Series(["1.5", "2", None, "many"] * 5, index=new.index)
    dates = pd.Series(pd.Timestamp("2026-01-01"), index=new.index)
    for column, said in (
        (mixed, r"Row 4 holds the text 'many'"),
        (mixed.where(mixed != "many"), r"Row 1 holds the text '1\.5'"),
        (dates, r"Row 1 holds the date 2026-01-01"),
    ):
        with pytest.raises(InputError, match=rf"'ratio' held numbers in training\. {said}"):
            preparation.transform(new.assign(ratio=column))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "frame"])
def test_numbers_that_are_codes_may_be_categories(name: str) -> None:
    """One column for each code, in a new table as well; in a CSV file as it is written."""
    codes = np.tile([7, 12, 12, 350], 10)
    frame = pd.DataFrame({"zone": codes, "size": np.arange(40.0), "label": ["a", "b"] * 20})
    source = frame if name == "frame" else saved(frame, name)
    data = from_table(source, category=["zone"])
    features = ("zone = 12", "zone = 350", "zone = 7", "size")
    assert data.preparation.features == features
    assert data.findings.columns[0].kind == "category"
    new = data.preparation.transform(source)
    for i, code in enumerate((12, 350, 7)):
        np.testing.assert_array_equal(new[:, i], codes == code)
    assert from_table(source).preparation.features == ("zone", "size")


def test_leading_zeros_and_free_text_stay_where_asked() -> None:
    rows = [f"{i % 3:03},{'long ' * 20}{i % 4},{'ab'[i % 2]}" for i in range(80)]
    Path("t.csv").write_text("\n".join(["zone,note,label", *rows]))
    with pytest.raises(InputError, match="free text"):
        from_table("t.csv")
    data = from_table("t.csv", category=["zone", "note"])
    assert data.preparation.features[:3] == ("zone = 000", "zone = 001", "zone = 002")
    assert sum(name.startswith("note = ") for name in data.preparation.features) == 4


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"category": ["none"]}, "no column 'none' for `category`"),
        ({"category": ["label"]}, "is the target: `--task classes`"),
        ({"category": ["size"], "drop": ["size"]}, "cannot be a category and be dropped"),
        ({"category": "size"}, "`category` must be a list"),
    ],
    ids=str,
)
def test_categories_that_cannot_be(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_table(people(), **how)


def test_the_fingerprint_knows_the_names_of_categories():
    frame = people()
    renamed = frame.replace({"colour": {"red": "rose"}})
    one, other = from_table(frame), from_table(renamed)
    np.testing.assert_array_equal(one.train.x, other.train.x)
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == from_table(people()).fingerprint


# --- large files


def test_a_large_csv_is_read_some_columns_at_a_time(monkeypatch):
    frame = people()
    path = saved(frame, "people.csv")
    small = from_table(path)
    monkeypatch.setattr(_csv, "_GROUP_BYTES", path.stat().st_size // 3)
    table = open_table(path)
    assert type(table).__name__ == "_LargeCsv"
    assert table.rows == ROWS
    large = from_table(path)
    np.testing.assert_array_equal(large.train.x, small.train.x)
    assert large.preparation == small.preparation


# --- the preparation as text


def test_a_preparation_is_read_back_equal():
    frame = people()
    for target in ("label", "ratio", "member", "year"):
        preparation = from_table(frame, target).preparation
        assert Preparation.from_json(preparation.to_json()) == preparation
    text = from_table(frame).preparation.to_json()
    assert Preparation.from_json(text.encode()).to_json() == text


def _broken() -> dict[str, Any]:
    def at(*path: Any, value: Any) -> Any:
        def change(content: dict[str, Any]) -> None:
            for key in path[:-1]:
                content = content[key]
            content[path[-1]] = value

        return change

    return {
        "another schema": at("schema", value=2),
        "schema is a text": at("schema", value="1"),
        "schema is true": at("schema", value=True),
        "an entry more": at("code", value="import os"),
        "no columns": at("columns", value=[]),
        "columns are a text": at("columns", value="abc"),
        "a column is a list": at("columns", 0, value=[]),
        "unknown kind": at("columns", 0, "kind", value="pickle"),
        "scale 0": at("columns", 0, "scale", value=0),
        "scale below 0": at("columns", 0, "scale", value=-1),
        "mean is a text": at("columns", 0, "mean", value="1"),
        "mean is true": at("columns", 0, "mean", value=True),
        "mean is huge": at("columns", 0, "mean", value=10**400),
        "indicator is 1": at("columns", 0, "indicator", value=1),
        "name is a number": at("columns", 0, "name", value=5),
        "two of one name": at("columns", 0, "name", value="ratio"),
        "the target as a column": at("columns", 0, "name", value="label"),
        "levels twice": at("columns", 4, "levels", value=["a", "a"]),
        "no levels": at("columns", 4, "levels", value=[]),
        "levels are numbers": at("columns", 4, "levels", value=[1, 2]),
        "a rare level": at("columns", 4, "rare", value=["red"]),
        "one class": at("target", "classes", value=["a"]),
        "mixed classes": at("target", "classes", value=["a", 1]),
        "classes out of order": at("target", "classes", value=["b", "a"]),
        "classes of lists": at("target", "classes", value=[[], []]),
        "classes are a text": at("target", "classes", value="ab"),
        "ignored is a text": at("ignored", value="ab"),
    }


@pytest.mark.parametrize("name", _broken())
def test_hostile_json_is_refused_in_a_sentence(name):
    content = json.loads(from_table(people()).preparation.to_json())
    _broken()[name](content)
    with pytest.raises(DamagedError) as caught:
        Preparation.from_json(json.dumps(content))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "1",
        b"\xff\xfe",
        "[" * 100_000,
        '{"schema": 1}',
        '{"schema": NaN}',
        '{"schema": 1' + "0" * 5000 + "}",
    ],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(DamagedError):
        Preparation.from_json(text)


# --- what is refused


def parquet(table: pa.Table, keep: float = 1.0) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    data = stream.getvalue()
    return data[: int(len(data) * keep)]


ROWS_OF_CSV = "".join(f"{i},{i % 3},{'ab'[i % 2]}\n" for i in range(20))
GOOD = f"x,z,y\n{ROWS_OF_CSV}"
TABLE = pa.table({"x": [*range(20)], "y": ["a", "b"] * 10})
PARQUET = parquet(TABLE)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def with_cell(value: str, row: int = 4) -> str:
    """The good file with another value of `x` in a row, counted from 1."""
    lines = GOOD.splitlines(keepends=True)
    lines[row] = ",".join([value, *lines[row].split(",")[1:]])
    return "".join(lines)


MALFORMED: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "empty": (".csv", "", ("empty",)),
    "blank lines": (".csv", "\n\n\n", ("empty",)),
    "header alone": (".csv", "x,z,y\n", ("no rows",)),
    "ragged, short": (".csv", with_cell("1\n7"), ("ragged", "line 5", "1 column", "header 3")),
    "ragged, long": (".csv", with_cell("1,1"), ("ragged", "line 5", "4 columns")),
    "two names alike": (".csv", GOOD.replace("z", "x", 1), ("two columns named 'x'",)),
    "a column without name": (".csv", GOOD.replace("z", "", 1), ("without a name", "number 2")),
    "latin-1": (".csv", with_cell("é").encode("latin1"), ("'x'", "UTF-8", "row 4")),
    "latin-1 header": (".csv", GOOD.replace("z", "é", 1).encode("latin1"), ("header", "UTF-8")),
    "utf-16": (".csv", GOOD.encode("utf-16"), ("NUL", "line 1")),
    "nul byte": (".csv", with_cell("1\x002"), ("NUL", "line 5")),
    "a picture": (".csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, ("NUL",)),
    "random bytes": (".csv", bytes(range(1, 256)) * 20, ()),
    "a quote never closed": (".csv", with_cell('"1'), ("line 5",)),
    "semicolons": (".csv", GOOD.replace(",", ";"), ("separate its columns by commas",)),
    "numbers with commas": (
        ".csv",
        "x,y\n" + "".join(f'"{i},{i}50",{"ab"[i % 2]}\n' for i in range(10, 40)),
        ("'x'", "comma", "--drop x"),
    ),
    "infinity": (".csv", with_cell("inf"), ("'x'", "infinity", "row 4", "--drop x")),
    "1e400": (".csv", with_cell("1e400"), ("'x'", "too large", "row 4")),
    "too large to standardize": (".csv", with_cell("1e308"), ("'x'", "standardized", "row 4")),
    "numbers and a text": (
        ".csv",
        "x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(30)) + "oops,a\n",
        ("'x'", "numbers", "row 31", "'oops'"),
    ),
    "one row": (".csv", "x,z,y\n1,2,a\n", ("'y'", "always 'a'")),
    "two rows": (".csv", "x,z,y\n1,2,a\n3,4,b\n", ("class 'a'", "one row")),
    "no target": (".csv", GOOD.replace("y", "w", 1), ("no column 'y'", "'x', 'z', 'w'")),
    "constant target": (".csv", GOOD.replace(",b\n", ",a\n"), ("'y'", "always 'a'")),
    "missing target": (".csv", GOOD.replace("b\n", "\n"), ("'y'", "10 of 20", "row 2")),
    "all targets missing": (
        ".csv",
        GOOD.replace(",a\n", ",\n").replace(",b\n", ",\n"),
        ("'y' is missing in every row",),
    ),
    "target alone": (".csv", "y\n" + "a\nb\n" * 10, ("no column to learn from",)),
    "dates": (
        ".csv",
        "x,y\n" + "".join(f"2020-01-{i:02},{'ab'[i % 2]}\n" for i in range(1, 30)),
        ("'x'", "dates", "2020-01-01", "--drop x"),
    ),
    "free text": (
        ".csv",
        "x,y\n" + "".join(f"word {i},{'ab'[i % 2]}\n" for i in range(30)),
        ("'x'", "free text", "values such as 'word", "--drop x"),
    ),
    "prose": (
        ".csv",
        "x,y\n" + "".join(f"{'long ' * 13}{i % 3},{'ab'[i % 2]}\n" for i in range(30)),
        ("'x'", "free text", "--drop x"),
    ),
    "dates as target": (".csv", "x,y\n1,2020-01-01\n2,2020-01-02\n", ("'y'", "dates")),
    "infinite target": (".csv", "x,y\n1,0.5\n2,inf\n3,1.5\n", ("'y'", "infinity", "row 2")),
    "parquet cut": (".parquet", PARQUET[:-20], ("no whole Parquet file",)),
    "parquet of nothing": (".parquet", b"", ("no whole Parquet file",)),
    "csv as parquet": (".parquet", GOOD, ("no whole Parquet file",)),
    "parquet damaged inside": (
        ".parquet",
        PARQUET[:4] + b"\xff" * 200 + PARQUET[204:],
        (),
    ),
    "nested parquet": (
        ".parquet",
        parquet(TABLE.append_column("lists", pa.array([[1]] * 20))),
        ("'lists'", "nested", "--drop lists"),
    ),
    "structures in parquet": (
        ".parquet",
        parquet(TABLE.append_column("pairs", pa.array([{"a": 1}] * 20))),
        ("'pairs'", "nested"),
    ),
    "bytes in parquet": (
        ".parquet",
        parquet(TABLE.append_column("raw", pa.array([b"ab"] * 20))),
        ("'raw'", "bytes", "--drop raw"),
    ),
    "parquet without rows": (".parquet", parquet(TABLE.slice(0, 0)), ("no rows",)),
    "text as npz": (".npz", "hello", ("no NPZ file",)),
    "npz with pickles": (".npz", npz(x=np.array([[{}]]), y=np.array([1])), ("no NPZ file",)),
    "npz without x": (".npz", npz(z=np.eye(3)), ("an array `x`",)),
    "npz of other shapes": (".npz", npz(x=np.eye(3), y=np.arange(4)), ("(3, 3)", "(4,)")),
    "another ending": (".xlsx", "PK", (".csv", ".parquet", ".npz")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_in_a_sentence(name):
    ending, content, fragments = MALFORMED[name]
    path = Path(f"bad{ending}")
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(LayerwiseError) as caught:
        from_table(path, "y")
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


def test_the_good_file_is_good():
    """So that what is refused above is refused for its fault."""
    Path("good.csv").write_text(GOOD)
    assert from_table("good.csv", "y").train.rows == 16
    Path("good.parquet").write_bytes(PARQUET)
    assert from_table("good.parquet", "y").train.rows == 16


def test_what_is_dropped_is_not_looked_at():
    table = TABLE.append_column("lists", pa.array([[1]] * 20))
    table = table.append_column("when", pa.array(np.arange(20).astype("datetime64[D]")))
    data = from_table(table, "y", drop=["lists", "when"])
    assert data.preparation.ignored == ("lists", "when")
    # Neither is missed in a new table, nor new there.
    for new in (TABLE, table):
        assert data.preparation.transform_with_report(new)[1].extra == ()
    with pytest.raises(InputError, match="no column 'nope' for `drop`"):
        from_table(table, "y", drop=["nope"])
    with pytest.raises(InputError, match="cannot be dropped"):
        from_table(table, "y", drop=["y", "lists", "when"])
    with pytest.raises(InputError, match="`drop` must be a list"):
        from_table(table, "y", drop="lists")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (5, InputTypeError, "Received: int"),
        (np.eye(3), InputTypeError, "Received: ndarray"),
        ("absent.csv", InputError, r"no file absent\.csv"),
        (".", InputError, "must end in"),
        (pd.DataFrame({0: [1, 2]}), InputError, "named 0"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), InputError, "two columns"),
        (pd.DataFrame({"a": []}), InputError, "no rows"),
        (pl.LazyFrame({"a": [1]}), InputTypeError, "LazyFrame"),
        (
            pd.DataFrame({"x": [{1}, {2}], "y": [0, 1]}),
            InputError,
            r"Row 1 holds \{1\}, of type set",
        ),
    ],
    ids=["number", "array", "absent", "folder", "number name", "twice", "no rows", "lazy", "sets"],
)
def test_what_is_no_table_is_refused(source, error, message):
    with pytest.raises(error, match=message):
        from_table(source, "y", validation_split=0)


def test_a_file_that_may_not_be_read_is_refused(monkeypatch):
    def refuse(*arguments: Any, **more: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(pq, "ParquetFile", refuse)
    monkeypatch.setattr(np, "load", refuse)
    for name in ("a.csv", "a.parquet", "a.npz"):
        Path(name).touch()
        with pytest.raises(InputError, match=rf"{name} .*Permission denied") as caught:
            open_table(name)
        assert "\n" not in str(caught.value)


def test_without_pyarrow_a_file_says_what_to_install(monkeypatch):
    Path("good.csv").write_text(GOOD)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "layerwise\[tables\]"'):
        open_table("good.csv")
    # NPZ needs NumPy alone.
    np.savez("data.npz", x=np.eye(4), y=np.arange(4))
    assert open_table("data.npz").rows == 4


def test_a_table_is_what_its_protocol_says():
    table: Table = open_table(nw.from_native(people()).to_polars())
    assert (table.name, table.rows) == ("The table", ROWS)
    assert [c.name for c in table.columns(["ratio", "size"])] == ["size", "ratio"]


def test_a_large_csv_may_change_its_mind_in_the_last_row(monkeypatch):
    """A column is texts from row 1 on where its last value is one; its numbers are read before."""
    monkeypatch.setattr(_csv, "_GROUP_BYTES", 2000)
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 1000)
    frame = pd.DataFrame({"a": [1, 2] * 500, "b": range(1000), "c": [*range(999), 0.5], "y": 0})
    frame.loc[::2, "y"] = 1
    path = saved(frame.astype({"a": object}).replace({"a": {2: "7A"}}), "kinds.csv")
    table = open_table(path)
    assert type(table).__name__ == "_LargeCsv"
    kinds = {column.name: (column.stored, column.values[-1]) for column in table.columns("abcy")}
    assert kinds == {
        "a": ("text", "7A"),
        "b": ("number", 999),
        "c": ("number", 0.5),
        "y": ("number", 0),
    }
    late = frame.astype({"a": object})
    late.loc[999, "a"] = "late"
    (column,) = open_table(saved(late, "late.csv")).columns(["a"])
    assert (column.stored, column.values[0], column.values[-1]) == ("text", "1", "late")
    Path("ragged.csv").write_text(path.read_text() + "1,2\n")
    with pytest.raises(InputError, match=r"line 1002 has 2 columns"):
        open_table("ragged.csv")
    # Somebody writes to the file between two looks at it.
    for change in (
        lambda text: text + "1,2,3,1\n",
        lambda text: text[: text.rindex("\n", 0, -1) + 1],
    ):
        table = open_table(saved(frame, "moving.csv"))
        Path("moving.csv").write_text(change(Path("moving.csv").read_text()))
        with pytest.raises(InputError, match="has changed while it was read"):
            list(table.columns(["a"]))


# --- what is not read into memory


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_plain_npz_file_is_mapped(save, layout):
    """What `numpy.savez` wrote stays in its file; either way the numbers are NumPy's."""
    x = np.asarray(np.random.default_rng(0).random((30, 4)), order=layout)
    save("data.npz", x=x, y=np.arange(30))
    table = open_table("data.npz")
    assert is_mapped(table._x) is (save is np.savez)
    np.testing.assert_array_equal(table._x, x)
    columns = {column.name: column.values for column in table.columns(table.names)}
    np.testing.assert_array_equal(columns["x3"], x[:, 3])
    np.testing.assert_array_equal(columns["y"], np.arange(30))


def test_a_plain_npz_file_is_read_to_its_end_before_it_is_mapped():
    """The sum over its bytes tells of every change."""
    np.savez("data.npz", x=np.random.default_rng(0).random((30, 4)), y=np.arange(30))
    whole = bytearray(Path("data.npz").read_bytes())
    whole[600] ^= 1
    Path("data.npz").write_bytes(whole)
    with pytest.raises(InputError, match=r"data\.npz is no NPZ file of plain arrays: .*CRC"):
        open_table("data.npz")


@pytest.mark.parametrize("block", [1, 50 * 4 * 3, 1 << 20])
def test_blocks_of_columns_change_no_number(monkeypatch, block):
    """Columns of one, two and three features, in another order than the training table's."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"n{i}": rng.random(50) for i in range(3)})
    frame["kind"], frame["half"] = list("abcab") * 10, [None, 1.0] * 25
    data = Dataset.from_table(frame.assign(y=[0, 1] * 25), target="y", validation_split=0)
    expected = data.preparation.transform(frame)
    monkeypatch.setattr(_preparation, "_BLOCK_BYTES", block)
    ours = data.preparation.transform(frame[["kind", "n2", "half", "n0", "n1"]])
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(expected, data.train.x)
