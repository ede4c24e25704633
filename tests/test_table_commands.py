"""`layerwise train` and `layerwise predict`: what they print, leave on disk and refuse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.preprocessing import StandardScaler

import layerwise
import layerwise.cli._run
from layerwise import files
from layerwise.datasets import Dataset
from layerwise.errors import InputError, LayerwiseError
from layerwise.service import _predict, predict
from layerwise.tables import Preparation, Target
from test_cli import Ended, assert_refused, call, contents, finished, read, spawn, without
from test_tables import MALFORMED, people

QUICK = ("--epochs", "2", "--max-depth", "2", "--width", "8")


class Job:
    """A finished `layerwise train` in a folder with its table."""

    def __init__(self, home: Path, frame: pd.DataFrame, target: str, *options: str) -> None:
        self.frame, self.target = frame, target
        self.table, self.run = home / "table.csv", home / "run"
        frame.to_csv(self.table, index=False)
        where = ("--out", self.run, "--target", target)
        self.ended = call("train", self.table, *where, *QUICK, *options)

    def copied(self, name: str = "run") -> Path:
        return Path(shutil.copytree(self.run, name))


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Classes by name, from thirteen numbers."""
    found = load_wine(as_frame=True)
    frame = found.frame.assign(target=found.target_names[found.target])
    return Job(tmp_path_factory.mktemp("wine"), frame, "target")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Columns of many kinds, with `--json`."""
    frame = people(60).assign(same=1)
    return Job(tmp_path_factory.mktemp("mixed"), frame, "label", "--json")


def test_what_was_found_is_printed_before_the_usual_table(wine: Job) -> None:
    assert wine.ended.code == 0
    lines = wine.ended.out.splitlines()
    assert lines[0].split() == ["column", "kind", "inputs", "missing", "holds"]
    for line, name in zip(lines[1:14], wine.frame.columns, strict=False):
        assert line.split()[:3] == [name, "number", "1"]
    assert lines[14] == "Target: target: 3 classes (texts)"
    assert lines[-2:] == [f"Run folder: {wine.run}", f"Report: {wine.run / 'report.html'}"]
    assert any(line.startswith("Chosen depth: ") for line in lines)


def test_a_run_on_a_table_leaves_its_preparation_vouched_for(wine: Job) -> None:
    lines = (wine.run / "SHA256SUMS").read_text().splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    found = {path.name for path in wine.run.iterdir()}
    assert found == {*sums, "SHA256SUMS", "checkpoints", "events.jsonl"}
    text = (wine.run / "preparation.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == sums["preparation.json"]
    expected = Dataset.from_table(wine.table, target="target").preparation
    assert Preparation.from_json(text) == expected


def test_json_is_one_object_and_warnings_go_elsewhere(mixed: Job) -> None:
    assert mixed.ended.code == 0
    assert json.loads(mixed.ended.out) == without(read(mixed.run), "curves")
    assert mixed.ended.err.startswith("Warning: The column 'same' is constant")


# --- predict


def network_outputs(run: Path, whole: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """By Keras, on inputs that scikit-learn makes from the rows that were for training."""
    # A column of row numbers tells which these were: the split goes by the target alone.
    numbered = whole.assign(number=np.arange(len(whole)))
    data = Dataset.from_table(numbered, target="target")
    code = data.preparation.codes[-1]
    numbers = np.rint(data.train.x[:, -1] * code.scale + code.mean).astype(int)
    features = whole.drop(columns="target").columns
    scaler = StandardScaler().fit(whole[features].to_numpy()[numbers])
    model = keras.models.load_model(run / "model.keras", compile=False)
    inputs = scaler.transform(rows[features].to_numpy()).astype("float32")
    return model.predict(inputs, verbose=0)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predictions_are_those_of_the_network(wine: Job, ending: str) -> None:
    """The inputs differ by rounding alone, so the probabilities do by 1e-5 at most."""
    new = wine.frame.sample(frac=1, random_state=0).iloc[:, ::-1]
    new.drop(columns="target").to_csv("new.csv", index=False)
    out = Path(f"out.{ending}")
    ended = call("predict", wine.run, "new.csv", "--out", out, "--proba")
    assert ended == Ended(0, f"Predictions: {out}, 178 rows\n", "")
    made = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    names = ["class_0", "class_1", "class_2"]
    assert made.columns.tolist() == ["prediction", *(f"probability.{name}" for name in names)]
    expected = network_outputs(wine.run, wine.frame, new)
    np.testing.assert_allclose(made.iloc[:, 1:].to_numpy(), expected, atol=1e-5)
    assert made["prediction"].tolist() == np.array(names)[expected.argmax(axis=1)].tolist()


def test_values_are_predicted_in_the_targets_own_unit() -> None:
    """Also of a run that was started from Python."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    data = Dataset.from_table(frame, target="target")
    block = lambda depth: keras.layers.Dense(8, "relu")  # noqa: E731
    layerwise.train(data, block=block, epochs=2, max_depth=1, run_dir="run", verbose=0)
    frame.to_csv("same.csv", index=False)
    assert call("predict", "run", "same.csv", "--out", "out.csv").code == 0
    target = data.preparation.target
    expected = network_outputs(Path("run"), frame, frame)[:, 0] * target.scale + target.mean
    made = pd.read_csv("out.csv")
    assert made.columns.tolist() == ["prediction"]
    np.testing.assert_allclose(made["prediction"], expected, rtol=1e-4)
    refused = call("predict", "run", "same.csv", "--out", "other.csv", "--proba")
    assert_refused(refused, "values", "--proba")
    # And from Python, on a frame.
    assert predict("run", frame, "again.csv").rows == len(frame)
    assert Path("again.csv").read_text() == Path("out.csv").read_text()
    with pytest.raises(InputError, match="lacks 'bmi'"):
        predict("run", frame.drop(columns="bmi"), "again.csv")


@pytest.mark.parametrize(
    "labels", [(False, True), (3, 7), (0.5, 1.5), ("a,b", 'say "x"'), ("1", "2")], ids=str
)
def test_labels_of_any_type_come_back(labels: tuple[Any, ...]) -> None:
    target = Target("y", labels)
    outputs = np.array([[0.25, 0.75], [0.5, 0.5], [0.875, 0.125]], "float32")
    columns = _predict._columns(target, outputs, proba=True)
    readers = {
        "out.csv": lambda n: pd.read_csv(n, dtype={"prediction": type(labels[0])}),
        "out.parquet": None,
    }
    for name, reader in readers.items():
        _predict._write(Path(name), columns)
        made = pd.read_parquet(name) if reader is None else reader(name)
        assert made["prediction"].tolist() == [labels[1], labels[0], labels[0]]
        assert made.columns.tolist()[1:] == [f"probability.{label}" for label in labels]
    np.testing.assert_array_equal(made.iloc[:, 1:].to_numpy(), outputs)


def test_what_a_new_table_brings_is_said(mixed: Job) -> None:
    new = people(20, seed=3).drop(columns="label").assign(more=1)
    new.loc[4, "colour"] = "pink"
    new.to_csv("new.csv", index=False)
    ended = call("predict", mixed.run, "new.csv", "--out", "out.csv")
    assert ended.code == 0
    assert "Warning: new.csv: ignored 'more', not in the training table." in ended.err
    assert "value of 'colour'" in ended.err
    assert "'pink'" in ended.err
    new.drop(columns=["size", "town"]).to_csv("less.csv", index=False)
    Path("there.csv").write_text("mine")
    refused = call("predict", mixed.run, "less.csv", "--out", "there.csv")
    assert_refused(refused, "less.csv", "lacks 'size', 'town'")
    # What stood there is not half overwritten.
    assert Path("there.csv").read_text() == "mine"
    assert sorted(p.name for p in Path().iterdir() if p.name.startswith(".")) == []


def test_predictions_replace_a_file_as_a_whole(wine: Job) -> None:
    Path("out.csv").write_text("older\n" * 10_000)
    assert call("predict", wine.run, wine.table, "--out", "out.csv").code == 0
    assert len(Path("out.csv").read_text().splitlines()) == 179


@pytest.mark.parametrize(
    ("out", "fragments"),
    [
        ("out.xlsx", (".csv or .parquet", "out.xlsx")),
        ("absent/out.csv", ("absent/out.csv", "cannot be written")),
        ("folder.csv", ("cannot be written",)),
        ("same.csv", ("the table itself",)),
    ],
)
def test_where_predictions_cannot_go(wine: Job, out: str, fragments: tuple[str, ...]) -> None:
    Path("folder.csv").mkdir()
    shutil.copy(wine.table, "same.csv")
    before = contents(Path())
    assert_refused(call("predict", wine.run, "same.csv", "--out", out), *fragments)
    assert contents(Path()) == before


def test_a_folder_that_is_taken_is_told_before_the_table_is_read(wine: Job) -> None:
    before = contents(wine.run)
    ended = call("train", wine.table, "--target", "target", "--out", wine.run)
    assert_refused(ended, "already holds a run", f"layerwise resume {wine.run}")
    Path("broken.csv").write_text("no table")
    ended = call("train", "broken.csv", "--target", "target", "--out", "broken.csv/run")
    assert_refused(ended, "The folder broken.csv/run cannot be written", "is a file")
    assert contents(wine.run) == before


def test_a_folder_that_is_closed_is_told(wine: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    ended = call("predict", wine.run, wine.table, "--out", "out.csv")
    assert_refused(ended, "out.csv cannot be written", "is closed to you")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("targt", "Did you mean 'target'?"), ("HUE", "Did you mean 'hue'?"), ("price", None)],
)
def test_a_name_that_is_nearly_right_is_suggested(
    wine: Job, wanted: str, meant: str | None
) -> None:
    ended = call("train", wine.table, "--target", wanted, "--out", "run")
    assert_refused(ended, f"no column {wanted!r}", *([meant] if meant else []))
    assert ("Did you mean" in ended.err) is (meant is not None)
    frame = wine.frame.rename(columns={"hue": wanted})
    frame.to_csv("new.csv", index=False)
    ended = call("predict", wine.run, "new.csv", "--out", "out.csv")
    assert_refused(ended, "lacks 'hue'")
    assert ("Did you mean" in ended.err) is (wanted == "HUE")


def test_predict_needs_a_finished_run_on_a_table(wine: Job) -> None:
    def refused(run: str | Path) -> Ended:
        return call("predict", run, wine.table, "--out", "out.csv")

    assert_refused(refused("absent"), "no run in absent")
    unfinished = wine.copied()
    sums = (unfinished / "SHA256SUMS").read_text().splitlines(keepends=True)
    (unfinished / "SHA256SUMS").write_text(sums[0])
    assert_refused(refused(unfinished), "no finished run", "layerwise resume run")
    arrays = wine.copied("arrays")
    (arrays / "SHA256SUMS").write_text("".join(line for line in sums if "prep" not in line))
    assert_refused(refused(arrays), "not trained on a table")
    assert not Path("out.csv").exists()


def forged(run: Path, text: str) -> None:
    """Another preparation, vouched for."""
    path = run / "preparation.json"
    old = files.digest_file(path)
    path.write_text(text)
    sums = (run / "SHA256SUMS").read_text()
    (run / "SHA256SUMS").write_text(sums.replace(old, files.digest_file(path)))


def test_a_preparation_that_is_damaged_or_forged_is_refused(wine: Job) -> None:
    run = wine.copied()
    text = (run / "preparation.json").read_text()
    (run / "preparation.json").write_text(text.replace("11.", "12.", 1) + " ")
    ended = call("predict", run, wine.table, "--out", "out.csv")
    assert_refused(ended, "preparation.json is damaged", "layerwise resume run")
    # `resume` makes it again.
    resumed = call("resume", run)
    assert resumed.code == 0
    assert "preparation.json is damaged. It is made again." in resumed.err
    assert (run / "preparation.json").read_text() == text
    content = json.loads(text)
    forged(run, json.dumps({**content, "schema": 2}))
    assert_refused(call("predict", run, wine.table, "--out", "out.csv"), "schema 2")
    forged(run, json.dumps({**content, "columns": content["columns"][:5]}))
    assert_refused(call("predict", run, wine.table, "--out", "out.csv"), "not of one run")
    assert not Path("out.csv").exists()


# --- resume


def cut_short(run: Path) -> None:
    """Make a finished run one that was killed right after its last stage."""
    sums = (run / "SHA256SUMS").read_text().splitlines(keepends=True)
    (run / "SHA256SUMS").write_text(sums[0])
    for name in ("preparation.json", "model.keras", "report.html", "depth.svg"):
        (run / name).unlink()


def test_a_run_on_a_table_goes_on(wine: Job, tmp_path: Path, monkeypatch: Any) -> None:
    run = wine.copied()
    before = without(read(run), "seconds", "ledger")
    kept = (run / "preparation.json").read_text()
    cut_short(run)
    # From another folder: the table is found by its whole path.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = call("resume", tmp_path / run)
    assert ended.code == 0
    assert ended.err.count("from its checkpoint") == 2
    assert without(read(tmp_path / run), "seconds", "ledger") == before
    assert (tmp_path / run / "preparation.json").read_text() == kept
    assert call("predict", tmp_path / run, wine.table, "--out", "out.csv").code == 0


def test_a_run_whose_table_has_changed_is_refused(mixed: Job) -> None:
    run = mixed.copied()
    cut_short(run)
    before = contents(run)
    changed = mixed.frame.copy()
    changed.loc[0, "ratio"] += 1
    try:
        changed.to_csv(mixed.table, index=False)
        assert_refused(call("resume", run), "started with another `data.fingerprint`")
        mixed.frame.replace({"colour": {"red": "rose"}}).to_csv(mixed.table, index=False)
        assert_refused(call("resume", run), "`data.fingerprint`")
        mixed.table.unlink()
        assert_refused(call("resume", run), f"no file {mixed.table}")
        assert contents(run) == before
    finally:
        mixed.frame.to_csv(mixed.table, index=False)
    assert call("resume", run).code == 0


# --- options and bad input


@pytest.mark.parametrize(
    ("option", "argument", "value"),
    [
        (("--seed", "7"), "seed", 7),
        (("--max-depth", "3"), "max_depth", 3),
        (("--epochs", "4"), "epochs", 4),
        (("--batch-size", "9"), "batch_size", 9),
        (("--replicates", "5"), "replicates", 5),
        (("--head", "frozen"), "head", "frozen"),
        (("--objective", "reconstruction"), "objective", "reconstruction"),
        (("--engine", "compiled"), "engine", "compiled"),
        (("--baseline", "quick"), "baseline", "quick"),
        (("--on-divergence", "retry"), "on_divergence", "retry"),
        (("--cache-dir", "kept"), "cache_dir", Path("kept")),
        (("--search-fraction", "0.5"), "search_fraction", 0.5),
        (("--fine-tune", "3"), "fine_tune", layerwise.FineTune(epochs=3)),
        ((), "fine_tune", None),
        ((), "depth_rule", layerwise.Plateau()),
        (("--validation-split", "0"), "depth_rule", layerwise.FixedDepth(keep="last")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) and value else "",
)
def test_each_option_reaches_the_run(
    monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], argument: str, value: object
) -> None:
    given: dict[str, Any] = {}

    def train(data: Dataset, **arguments: Any) -> None:
        given.update(arguments, data=data)
        raise LayerwiseError("seen")

    monkeypatch.setattr(layerwise.cli._run, "train", train)
    people(60).to_csv("people.csv", index=False)
    ended = call("train", "people.csv", "--target", "label", *option)
    assert (ended.code, ended.err.splitlines()[-1]) == (1, "Error: seen")
    assert given[argument] == value
    units = given["block"](1).units
    assert (units, given["block"](1).activation.__name__) == (64, "relu")


def test_the_options_of_the_table_reach_the_run(tmp_path: Path) -> None:
    frame = people(80)
    frame.loc[[2, 7], "label"] = None
    frame.to_csv("people.csv", index=False)
    people(30, seed=4).to_csv("test.csv", index=False)
    table = ("train", "people.csv", "--target", "label", "--unlabeled", "--task", "classes")
    drops = ("--drop", "town", "--drop", "colour", "--category", "member")
    more = ("--test", "test.csv", "--validation-split", "0.25", "--out", "run", "--width", "5")
    ended = call(*table, *drops, *more, "--epochs", "1", "--max-depth", "1")
    assert ended.code == 0
    assert "2 rows have no target" in ended.err
    facts = read(Path("run"), "run.json")
    assert facts["table"] == {
        "data": str(tmp_path / "people.csv"),
        "target": "label",
        "task": "classes",
        "drop": ["town", "colour"],
        "category": ["member"],
        "test": str(tmp_path / "test.csv"),
        "unlabeled": True,
        "fine_tune": None,
    }
    rows = {"train": 58, "validation": 20, "test": 30, "unlabeled": 2}
    assert (facts["data"]["rows"], facts["data"]["name"]) == (rows, "people")
    assert read(Path("run"))["test"]["accuracy"] > 0
    model = keras.models.load_model("run/model.keras", compile=False)
    assert model.layers[0].units == 5
    preparation = Preparation.from_json(Path("run/preparation.json").read_bytes())
    assert preparation.ignored == ("colour", "town")


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_table_is_exit_code_2_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    ending, content, fragments = MALFORMED[name]
    path = tmp_path / f"bad{ending}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    ended = call("train", path, "--target", "y", "--out", "run", *QUICK)
    assert_refused(ended, *fragments)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


IN_A_PROCESS = ["nested parquet", "npz with pickles", "latin-1", "a quote never closed", "1e400"]


@pytest.mark.parametrize(
    "name",
    ["ragged, short", *(pytest.param(name, marks=pytest.mark.slow) for name in IN_A_PROCESS)],
)
def test_a_malformed_table_in_a_process_of_its_own(tmp_path: Path, name: str) -> None:
    ending, content, fragments = MALFORMED[name]
    path = tmp_path / f"bad{ending}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert_refused(finished(spawn("train", path, "--target", "y")), *fragments)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("train", "good.csv"), ("--target",)),
        (("train", "--target", "y"), ("data",)),
        (("train", "good.csv", "--target", "y", "--task", "ranks"), ("--task", "ranks")),
        (("train", "good.csv", "--target", "y", "--fine-tune", "0"), ("--fine-tune", "1")),
        (("train", "good.csv", "--target", "y", "--width", "0"), ("--width", "1")),
        (("train", "good.csv", "--target", "w"), ("no column 'w'", "'label'")),
        (("train", "good.csv", "--target", "label", "--drop", "w"), ("no column 'w'", "`drop`")),
        (("train", "good.csv", "--target", "label", "--drop", "label"), ("is the target",)),
        (("train", "good.csv", "--target", "label", "--test", "no.csv"), ("no file no.csv",)),
        (("train", "good.csv", "--target", "label", "--objective", "no"), ("objective", "no")),
        (
            ("train", "good.csv", "--target", "label", "--validation-split", "1.5"),
            ("`validation_split`", "1.5"),
        ),
        (
            ("train", "good.csv", "--target", "label", "--validation-split", "0.0001"),
            ("0.0001", "cannot be split"),
        ),
        (("train", "no.csv", "--target", "label"), ("no file no.csv",)),
        (("predict", "run"), ("data",)),
        (("predict", "run", "good.csv"), ("--out",)),
    ],
    ids=" ".join,
)
def test_wrong_usage_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    people(40).to_csv("good.csv", index=False)
    ended = call(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("Error: ")
    for fragment in fragments:
        assert fragment.lower() in last.lower()
    assert [p.name for p in tmp_path.iterdir()] == ["good.csv"]


@pytest.mark.parametrize(
    "change",
    [
        {"table": []},
        {"table": None},
        {"table": {}},
        {"drop": "ab"},
        {"drop": [1]},
        {"category": "ab"},
        {"category": [1]},
        {"data": 5},
        {"fine_tune": True},
        {"unlabeled": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_a_forged_run_json_is_refused(wine: Job, change: dict[str, Any]) -> None:
    run = wine.copied()
    facts = read(run, "run.json")
    facts["table"] = change["table"] if "table" in change else {**facts["table"], **change}
    files.write_json(run / "run.json", facts)
    (run / "SHA256SUMS").write_text(f"{files.digest_file(run / 'run.json')}  run.json\n")
    assert_refused(call("resume", run), "table of the run")
