"""`layerwise train FOLDER` and `predict` on images: what they print, leave on disk and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import layerwise
import layerwise.cli._run
import layerwise.recipes.images
from layerwise import files
from layerwise.datasets import Dataset, ImagePreparation
from layerwise.errors import DamagedError, LayerwiseError, UnknownFormatError
from layerwise.service import predict
from test_cli import Ended, assert_refused, call, contents, read, without

RNG = np.random.default_rng(0)
QUICK = ("--epochs", "60", "--batch-size", "6", "--max-depth", "2", "--width", "4", "--size", "12")


def write(path: Path, light: int, side: int = 16) -> None:
    """An image in color, of one light and some noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 40, (side, side, 3)) + light
    Image.fromarray(pixels.astype("uint8")).save(path)


def pets(folder: Path, rows: int = 15) -> Path:
    """Two classes that differ in light, sizes that differ, and a file that is no image."""
    for name, light in (("cat", 20), ("dog", 190)):
        for i in range(rows):
            write(folder / name / f"{i:02}.png", light, 16 + i % 2)
    (folder / "dog" / "bad.png").write_bytes(b"no image")
    return folder


class Job:
    """A finished `layerwise train` on images."""

    def __init__(self, home: Path) -> None:
        self.folder, self.run = pets(home / "pets"), home / "run"
        how = ("--out", self.run, "--on-damage", "skip", *QUICK)
        self.ended = call("train", self.folder, *how)

    def copied(self, name: str = "run") -> Path:
        return Path(shutil.copytree(self.run, name))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("images"))


def test_what_was_found_is_printed_before_the_usual_table(job: Job) -> None:
    assert job.ended.code == 0
    lines = job.ended.out.splitlines()
    expected = "Target: 2 classes by sub-folder: cat (15), dog (15); 12 x 12 pixels, in color"
    assert lines[0] == expected
    assert lines[-2:] == [f"Run folder: {job.run}", f"Report: {job.run / 'report.html'}"]
    warning = job.ended.err.splitlines()[0]
    assert warning.startswith("Warning: 1 of 31 images cannot be decoded: ")
    assert warning.endswith("pets/dog/bad.png. They are left out.")


def test_the_default_blocks_are_convolutions_that_halve_large_maps(job: Job) -> None:
    """12 pixels are pooled to 6, which are less than 8."""
    model = keras.models.load_model(job.run / "model.keras", compile=False)
    facts = read(job.run, "run.json")
    assert facts["data"]["shape"] == [12, 12, 3]
    first = model.layers[0]
    assert [type(layer).__name__ for layer in first.layers] == ["Conv2D", "MaxPooling2D"]
    assert (first.layers[0].filters, first.layers[0].kernel_size) == (4, (3, 3))
    block = layerwise.recipes.images._blocks(32, 33)
    sizes = [len(block(depth).layers) for depth in (1, 2, 3, 4)]
    assert sizes == [2, 2, 2, 1]


def test_the_preparation_is_kept_and_comes_back(job: Job) -> None:
    text = (job.run / "preparation.json").read_bytes()
    assert ImagePreparation.from_json(text) == ImagePreparation(12, 12, 3, ("cat", "dog"))
    names = {line[66:] for line in (job.run / "SHA256SUMS").read_text().splitlines()}
    assert "preparation.json" in names


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"schema": 2}, UnknownFormatError),
        ({"kind": "tables"}, DamagedError),
        ({"height": 0}, DamagedError),
        ({"height": 1 << 20, "width": 1 << 20}, DamagedError),
        ({"width": True}, DamagedError),
        ({"channels": 2}, DamagedError),
        ({"classes": ["cat"]}, DamagedError),
        ({"classes": [1, 2]}, DamagedError),
        ({"more": 1}, DamagedError),
    ],
    ids=str,
)
def test_a_forged_preparation_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    content = json.loads(ImagePreparation(12, 12, 3, ("cat", "dog")).to_json())
    with pytest.raises(error):
        ImagePreparation.from_json(json.dumps({**content, **change}))
    for text in ("", "[]", "{}", "[" * 100_000):
        with pytest.raises(DamagedError):
            ImagePreparation.from_json(text)


# --- predict


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predictions_are_those_of_the_network(job: Job, ending: str) -> None:
    """By Keras on what Pillow reads, in the order of the names, within 1e-6."""
    for name, light in (("b/x.png", 20), ("b/deep/y.jpg", 200), ("a.png", 190)):
        write(Path("new") / name, light, 20)
    Path("new/notes.txt").write_text("no image")
    out = f"out.{ending}"
    ended = call("predict", job.run, "new", "--out", out, "--proba")
    assert ended == Ended(0, f"Predictions: {out}, 3 rows\n", "")
    made = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert made.columns.tolist() == ["file", "prediction", "probability.cat", "probability.dog"]
    names = ["new/a.png", "new/b/deep/y.jpg", "new/b/x.png"]
    assert made["file"].tolist() == names
    rows = [
        np.asarray(Image.open(name).resize((12, 12), Image.Resampling.BILINEAR)) for name in names
    ]
    network = keras.models.load_model(job.run / "model.keras", compile=False)
    expected = network.predict(np.array(rows, "float32") / 255, verbose=0)
    np.testing.assert_allclose(made.iloc[:, 2:].to_numpy(), expected, atol=1e-6)
    assert made["prediction"].tolist() == ["dog", "dog", "cat"]


def test_files_are_predicted_in_the_order_given(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they come in several parts, of which one holds nothing whole."""
    monkeypatch.setattr("layerwise.service._predict_images._AT_ONCE", 2)
    for name, light in (("z.png", 20), ("a.png", 190), ("m.png", 20)):
        write(Path(name), light)
    for name in ("bad1.png", "bad2.png", "bad3.png"):
        Path(name).write_bytes(b"no")
    given = ("bad1.png", "z.png", "bad2.png", "bad3.png", "a.png", "m.png")
    said = "images cannot be decoded: bad1.png, bad2.png, bad3.png."
    refused = call("predict", job.run, *given, "--out", "out.csv")
    assert_refused(refused, f"3 of 6 {said}", "--on-damage skip")
    assert not Path("out.csv").exists()
    ended = call("predict", job.run, *given, "--out", "out.csv", "--on-damage", "skip")
    assert ended.err == f"Warning: 3 of 6 {said} They are left out.\n"
    made = pd.read_csv("out.csv")
    assert made["file"].tolist() == ["z.png", "a.png", "m.png"]
    assert made["prediction"].tolist() == ["cat", "dog", "cat"]
    nothing = call("predict", job.run, "bad1.png", "--out", "o.csv", "--on-damage", "skip")
    assert_refused(nothing, "bad1.png", "nothing to predict")


@pytest.mark.parametrize(
    ("source", "fragments"),
    [
        (("absent",), ("no file absent",)),
        (("empty",), ("empty holds no PNG or JPEG",)),
        (("notes.txt",), ("notes.txt must be a PNG or JPEG",)),
        (("a.png", "absent.png"), ("no file absent.png",)),
    ],
    ids=str,
)
def test_what_cannot_be_predicted(job: Job, source: Any, fragments: tuple[str, ...]) -> None:
    write(Path("a.png"), 20)
    Path("empty").mkdir()
    Path("notes.txt").write_text("no image")
    before = contents(Path())
    assert_refused(call("predict", job.run, *source, "--out", "out.csv"), *fragments)
    assert contents(Path()) == before


def test_a_network_whose_outputs_are_no_classes_is_refused(job: Job) -> None:
    run = job.copied()
    path = run / "preparation.json"
    old = files.digest_file(path)
    path.write_text(ImagePreparation(12, 12, 3, ("cat", "dog", "eel")).to_json())
    sums = (run / "SHA256SUMS").read_text()
    (run / "SHA256SUMS").write_text(sums.replace(old, files.digest_file(path)))
    ended = call("predict", run, job.folder / "cat", "--out", "out.csv")
    assert_refused(ended, "2 numbers for 3 classes")


@pytest.mark.filterwarnings("ignore:1 of 31 images")
def test_from_python_too() -> None:
    """A run that `layerwise.train` made on `Dataset.from_images`."""
    data = Dataset.from_images(pets(Path("pets")), size=8, damaged="skip", color="gray")
    conv = lambda depth: keras.layers.Conv2D(2, 3)  # noqa: E731
    layerwise.train(data, block=conv, epochs=1, max_depth=1, run_dir="run", verbose=0)
    assert predict("run", ["pets/cat"], "out.csv").rows == 15


# --- resume


def test_a_run_on_images_goes_on(job: Job, tmp_path: Path, monkeypatch: Any) -> None:
    run = job.copied()
    before = without(read(run), "seconds", "ledger")
    sums = (run / "SHA256SUMS").read_text().splitlines(keepends=True)
    (run / "SHA256SUMS").write_text(sums[0])
    for name in ("preparation.json", "model.keras"):
        (run / name).unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = call("resume", tmp_path / run)
    assert ended.code == 0
    assert without(read(tmp_path / run), "seconds", "ledger") == before
    assert (tmp_path / run / "preparation.json").exists()


def test_a_run_whose_images_have_changed_is_refused(job: Job) -> None:
    run = job.copied()
    sums = (run / "SHA256SUMS").read_text().splitlines(keepends=True)
    (run / "SHA256SUMS").write_text(sums[0])
    image = job.folder / "cat" / "00.png"
    kept = image.read_bytes()
    try:
        write(image, 60)
        assert_refused(call("resume", run), "started with another `data.fingerprint`")
    finally:
        image.write_bytes(kept)


@pytest.mark.parametrize(
    "change",
    [{"images": []}, {"data": 5}, {"size": True}, {"color": None}, {"test": 1}, {"more": 1}],
    ids=str,
)
def test_a_forged_run_json_is_refused(job: Job, change: dict[str, Any]) -> None:
    run = job.copied()
    facts = read(run, "run.json")
    facts["images"] = change["images"] if "images" in change else {**facts["images"], **change}
    files.write_json(run / "run.json", facts)
    (run / "SHA256SUMS").write_text(f"{files.digest_file(run / 'run.json')}  run.json\n")
    assert_refused(call("resume", run), "images of the run")


# --- options and bad input


@pytest.mark.parametrize(
    ("option", "argument", "value"),
    [
        (("--seed", "7"), "seed", 7),
        (("--max-depth", "3"), "max_depth", 3),
        (("--epochs", "4"), "epochs", 4),
        (("--batch-size", "9"), "batch_size", 9),
        (("--head", "frozen"), "head", "frozen"),
        (("--engine", "fit"), "engine", "fit"),
        (("--baseline", "quick"), "baseline", "quick"),
        (("--on-divergence", "retry"), "on_divergence", "retry"),
        (("--cache-dir", "kept"), "cache_dir", Path("kept")),
        (("--search-fraction", "0.5"), "search_fraction", 0.5),
        (("--fine-tune", "3"), "fine_tune", layerwise.FineTune(epochs=3)),
        (("--objective", "predsim"), "objective", "predsim"),
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
    pets(Path("pets"), rows=5)
    how = ("--size", "8", "--color", "gray", "--on-damage", "skip", *option)
    ended = call("train", "pets", *how)
    assert (ended.code, ended.err.splitlines()[-1]) == (1, "Error: seen")
    assert given[argument] == value
    assert given["data"].train.x.shape[1:] == (8, 8, 1)
    assert given["block"](1).layers[0].filters == 32


def test_heads_may_be_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def train(data: Dataset, **arguments: Any) -> None:
        given.update(arguments)
        raise LayerwiseError("seen")

    monkeypatch.setattr(layerwise.cli._run, "train", train)
    how = ("train", pets(Path("pets"), 5), "--size", "8", "--on-damage", "skip")
    assert call(*how, "--head-depth", "2").code == 1
    assert "head_depth=2" in repr(given["objective"])
    both = call(*how, "--head-depth", "2", "--objective", "rbm")
    assert_refused(both, "--head-depth")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("pets",), ("1 of 7 images", "bad.png", "--on-damage skip")),
        (("pets", "--on-damage", "skip"), ("one size", "--size")),
        (("pets", "--target", "y"), ("folder of images", "--target")),
        (("pets", "--drop", "y"), ("folder of images", "--drop")),
        (("pets", "--unlabeled"), ("folder of images", "--unlabeled")),
        (("pets", "--color", "blue"), ("--color", "blue")),
        (("pets", "--size", "0"), ("--size", "1")),
        (("pets/cat",), ("sub-folder",)),
        (("absent",), ("no file or folder absent",)),
        (("table.csv",), ("--target", "table.csv")),
        (("table.csv", "--target", "y", "--size", "8"), ("is a table", "--size")),
        (("table.csv", "--target", "y", "--on-damage", "skip"), ("is a table", "--on-damage")),
        (("table.csv", "--target", "y", "--head-depth", "2"), ("is a table", "--head-depth")),
    ],
    ids=" ".join,
)
def test_wrong_usage_leaves_nothing(arguments: Any, fragments: tuple[str, ...]) -> None:
    pets(Path("pets"), rows=3)
    Path("table.csv").write_text("x,y\n1,a\n2,b\n")
    before = contents(Path())
    ended = call("train", *arguments)
    assert (ended.code, ended.out) == (2, "")
    last = ended.err.splitlines()[-1]
    assert last.startswith("Error: ")
    for fragment in fragments:
        assert fragment in last
    assert contents(Path()) == before
