"""Exports: opened by others, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits, load_wine

import layerwise
from layerwise.errors import DamagedError, InputError, LayerwiseError, MissingDependencyError
from layerwise.service import _formats, _parity
from test_cli import Ended, assert_refused, call, contents, read

X, Y = load_digits(return_X_y=True)
IMAGES = (X.reshape(-1, 8, 8, 1)[:400] / 16).astype("float32")
FORMATS = ("keras", "onnx", "safetensors")


def block(depth: int) -> keras.Layer:
    """With statistics that training moves, and a map that gets smaller."""
    inside = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.LeakyReLU()]
    return keras.Sequential([*inside, layers.MaxPooling2D()] if depth == 1 else inside)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two convolutional blocks, both kept, with exits."""
    run = tmp_path_factory.mktemp("images") / "run"
    how: dict[str, Any] = {"epochs": 2, "max_depth": 2, "batch_size": 50}
    how |= {"optimizer": keras.optimizers.Adam(0.02)}
    rule = layerwise.FixedDepth("last")
    layerwise.train(IMAGES, Y[:400], block=block, depth_rule=rule, run_dir=run, verbose=0, **how)
    return run


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of dense blocks on a table."""
    run = tmp_path_factory.mktemp("table") / "run"
    found = load_wine(as_frame=True)
    frame = found.frame.assign(target=found.target_names[found.target])
    data = layerwise.Dataset.from_table(frame, target="target")
    dense = lambda depth: layers.Dense(8, "relu")  # noqa: E731
    layerwise.train(data, block=dense, epochs=3, max_depth=2, run_dir=run, verbose=0)
    return run


PLAIN = """
import sys
import keras, numpy
for name in sys.argv[1:]:
    network = keras.saving.load_model(name)
    outputs = network.predict(numpy.load(f"{name}.npy"), verbose=0)
    named = outputs if isinstance(outputs, dict) else {"output": outputs}
    numpy.savez(f"{name}.npz", **named)
assert "layerwise" not in sys.modules
"""


def by_keras(x: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """By a Python that does not know of layerwise, on the backend of this one."""
    for name, rows in x.items():
        np.save(f"{name}.npy", rows)
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    command = (sys.executable, "-c", PLAIN, *x)
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return {name: dict(np.load(f"{name}.npz")) for name in x}


def by_onnx(name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(name, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": x}), strict=True))


def by_torch(name: str, x: np.ndarray) -> dict[str, np.ndarray]:
    """By a Python that has neither Keras nor layerwise at hand."""
    np.save("x.npy", x)
    command = (sys.executable, "-c", _formats._RUN_TORCH, name, "x.npy", "made.npz")
    subprocess.run(command, check=True, capture_output=True)
    return dict(np.load("made.npz"))


def assert_close(received: dict[str, np.ndarray], expected: Any) -> None:
    """Within 1e-5 of outputs that are probabilities."""
    named = expected if isinstance(expected, dict) else {"output": expected}
    assert set(received) == set(named)
    for key, values in named.items():
        np.testing.assert_allclose(received[key], values, atol=1e-5, rtol=0)


def test_files_are_opened_by_others(images: Path, table: Path) -> None:
    """What Keras alone and ONNX Runtime alone give, against the networks as they were kept."""
    pytest.importorskip("onnx")
    network = layerwise.load(images)
    exits = keras.saving.load_model(_exits_of(images))
    wine = np.random.default_rng(1).normal(size=(20, 13)).astype("float32")
    cases = {
        "net": (images, (), IMAGES, network.predict(IMAGES, verbose=0)),
        "exits": (images, ("--exits",), IMAGES, exits.predict(IMAGES, verbose=0)),
        "wine": (table, (), wine, layerwise.load(table).predict(wine, verbose=0)),
    }
    for name, (run, options, _, _) in cases.items():
        for format in ("keras", "onnx"):
            ended = call("export", run, "--format", format, "--out", f"{name}.{format}", *options)
            assert (ended.code, ended.err) == (0, "")
            assert ended.out.startswith(f"Exported: {name}.{format}, ")
            assert "on 64 rows: the largest difference is" in ended.out
    kept = by_keras({f"{name}.keras": x for name, (_, _, x, _) in cases.items()})
    for name, (_, _, x, expected) in cases.items():
        assert_close(kept[f"{name}.keras"], expected)
        assert_close(by_onnx(f"{name}.onnx", x), expected)
    assert np.ptp(cases["net"][3]) > 0.1
    assert set(cases["exits"][3]) == {"depth_1", "depth_2"}


@pytest.mark.engines
def test_what_training_hands_back_is_plain_keras() -> None:
    """Saved by `result.model.save` and by an export, on every backend: within 1e-5."""
    how: dict[str, Any] = {"epochs": 1, "max_depth": 1, "batch_size": 50, "verbose": 0}
    result = layerwise.train(IMAGES, Y[:400], block=block, run_dir="run", **how)
    result.model.save("saved.keras")
    layerwise.export("run", "keras", "exported.keras")
    rows = IMAGES[:20]
    kept = by_keras({"saved.keras": rows, "exported.keras": rows})
    expected = result.model.predict(rows, verbose=0)
    assert_close(kept["saved.keras"], expected)
    assert_close(kept["exported.keras"], expected)


def _exits_of(run: Path) -> str:
    """What `TrainResult.early_exits` gives, from the blocks and heads of the stages themselves."""
    from safetensors.numpy import load_file

    inputs = x = keras.Input((8, 8, 1))
    outputs = {}
    for depth in (1, 2):
        arrays = load_file(run / f"checkpoints/stage-000{depth}-0/tensors.safetensors")
        part, head = block(depth), keras.Sequential(head_layers())
        x = part(x)
        outputs[f"depth_{depth}"] = head(x)
        for what, layer in (("block", part), ("head", head)):
            for i, variable in enumerate(layer.variables):
                variable.assign(arrays[f"{what}.{i}"])
    keras.Model(inputs, outputs).save("stages.keras")
    return "stages.keras"


def head_layers() -> list[keras.Layer]:
    """Layers of the default head on a map of 4 x 4."""
    pooling = layers.AveragePooling2D(2, padding="same")
    return [pooling, layers.Flatten(), layers.Dense(10, activation="softmax")]


def test_weights_by_name(images: Path) -> None:
    """Tensors have their layers' names; the network comes back from the file alone, to the bit."""
    from safetensors import safe_open

    exported = layerwise.export(images, "safetensors", "net.safetensors", rows=IMAGES[:100])
    assert (exported.rows, exported.difference) == (164, 0.0)
    network = layerwise.load(images)
    with safe_open("net.safetensors", framework="numpy") as opened:
        assert set(opened.keys()) == {variable.path for variable in network.variables}
        header = opened.metadata()
    assert json.loads(header["classes"]) == [str(i) for i in range(10)]
    assert json.loads(header["architecture"])["network"]["class_name"] == "Sequential"
    again = layerwise.load("net.safetensors")
    expected = network.predict(IMAGES, verbose=0)
    assert again.predict(IMAGES, verbose=0).tobytes() == expected.tobytes()


def test_tensors_of_one_name_are_counted() -> None:
    same = keras.Sequential(
        [keras.Input((3,)), keras.Sequential([layers.Dense(2, name="a")], name="a")]
    )
    same.add(keras.Sequential([layers.Dense(2, name="a")], name="b"))
    for variable in same.variables:
        variable._path = "a/kernel"
    Path("x.safetensors").write_bytes(layerwise.checkpoint.write_network(same, {}))
    x = np.ones((2, 3), "float32")
    again = layerwise.load("x.safetensors").predict(x, verbose=0)
    np.testing.assert_array_equal(again, same.predict(x, verbose=0))


@pytest.mark.parametrize("damage", ["cut", "header", "other", "names", "absent"])
def test_a_file_that_is_not_ours_is_refused(table: Path, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    path = Path("net.safetensors")
    if damage != "absent":
        layerwise.export(table, "safetensors", path)
        content = path.read_bytes()
        tensors = load_file(path)
    if damage == "cut":
        path.write_bytes(content[:-10])
    elif damage == "header":
        path.write_bytes(content.replace(b'{\\"format\\": 1', b'{\\"format\\": 7', 1))
    elif damage == "other":
        save_file(tensors, path)
    elif damage == "names":
        path.write_bytes(content.replace(b'[\\"', b'[\\"x', 1))
    with pytest.raises((DamagedError, InputError)):
        layerwise.load(path)


def test_a_table_gives_its_preparation(table: Path) -> None:
    """Beside the file, as it was, so that a service turns rows into inputs."""
    ended = call("export", table, "--format", "safetensors")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "Preparation of its inputs: run.preparation.json"
    kept = (table / "preparation.json").read_bytes()
    assert Path("run.preparation.json").read_bytes() == kept
    assert sorted(map(str, contents(Path()))) == ["run.preparation.json", "run.safetensors"]
    # The same run in another format has the same preparation.
    assert call("export", table, "--format", "keras").code == 0


# --- what is refused


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_predicts_otherwise_leaves_no_file(
    table: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """A weight that moved by 1e-3 on its way into the file."""
    if format == "onnx":
        pytest.importorskip("onnx")
    chosen = _formats.FORMATS[format]

    def off(job: _formats.Job, path: Path) -> None:
        moved = keras.models.clone_model(job.network)
        moved.set_weights([array + 1e-3 for array in job.network.get_weights()])
        chosen.write(_formats.Job(moved, job.facts, job.layers), path)

    wrong = _formats.Format(chosen.ending, off, chosen.open)
    monkeypatch.setitem(_formats.FORMATS, format, wrong)
    ended = call("export", table, "--format", format)
    assert ended.code == 1
    assert "predicts otherwise" in ended.err
    assert "1e-05 is allowed" in ended.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("expected", "received", "part"),
    [
        ([[2.0, 4.0]], [[2.0, 4.0]], 0.0),
        ([[2.0, 4.0]], [[2.0, 4.00002]], 0.000005),
        ([[-4e-6, 1e-9]], [[-4e-6, 1.01e-9]], 2.5e-6),
        ([[0.0, 0.0]], [[0.0, 0.0]], 0.0),
        ([[1.0]], [[1.0001]], None),
        ([[1e-6]], [[2e-6]], None),
        ([[0.0]], [[1.0]], None),
        ([[1.0]], [[np.nan]], None),
        ([[np.nan]], [[np.nan]], None),
        ([[np.inf]], [[np.inf]], None),
        ([[1.0]], [1.0], None),
    ],
    ids=str,
)
def test_the_difference_is_a_part_of_the_largest_output(
    expected: Any, received: Any, part: float | None
) -> None:
    pair = {"output": np.array(expected)}, {"output": np.array(received)}
    if part is None:
        with pytest.raises(LayerwiseError, match="Nothing is kept"):
            _parity.check(*pair, "The file")
        return
    assert _parity.check(*pair, "The file") == pytest.approx(part, rel=1e-2)


def test_every_output_counts() -> None:
    expected = {"a": np.ones((2, 2)), "b": np.ones((2, 2))}
    with pytest.raises(LayerwiseError, match="otherwise"):
        _parity.check(expected, {**expected, "b": np.full((2, 2), 1.1)}, "The file")
    with pytest.raises(LayerwiseError, match="shapes"):
        _parity.check(expected, {"a": expected["a"]}, "The file")


def refused(run: str | Path, *options: str | Path) -> Ended:
    return call("export", run, "--format", "safetensors", *options)


def test_there_must_be_a_finished_run(table: Path) -> None:
    assert_refused(refused("absent"), "no run in absent")
    unfinished = Path(shutil.copytree(table, "unfinished"))
    sums = (unfinished / "SHA256SUMS").read_text().splitlines(keepends=True)
    (unfinished / "SHA256SUMS").write_text(sums[0])
    assert_refused(refused(unfinished), "no finished run", "layerwise resume unfinished")
    damaged = Path(shutil.copytree(table, "damaged"))
    tensors = damaged / "checkpoints/model/tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
    assert_refused(refused(damaged), "not those written")
    assert sorted(path.name for path in Path().iterdir()) == ["damaged", "unfinished"]


@pytest.mark.parametrize(
    ("out", "fragments"),
    [
        ("there.safetensors", ("there.safetensors is there already", "--replace")),
        ("half.safetensors", ("half.preparation.json is there already",)),
        ("folder.safetensors", ("cannot be written",)),
        ("absent/x.safetensors", ("cannot be written",)),
        ("x.onnx", ("must end in .safetensors", "x.onnx")),
    ],
)
def test_where_a_network_cannot_go(table: Path, out: str, fragments: tuple[str, ...]) -> None:
    Path("there.safetensors").write_text("mine")
    Path("half.preparation.json").write_text("mine")
    Path("folder.safetensors").mkdir()
    before = contents(Path())
    assert_refused(refused(table, "--out", out), *fragments)
    assert contents(Path()) == before


def test_a_file_is_replaced_when_asked(table: Path) -> None:
    Path("run.safetensors").write_text("mine")
    assert refused(table, "--replace").code == 0
    assert layerwise.load("run.safetensors").count_params()


def test_formats_have_names(table: Path) -> None:
    ended = call("export", table, "--format", "pickle")
    assert ended.code == 2
    assert "pickle" in ended.err
    with pytest.raises(InputError, match=r"`format` must be one of 'keras', .*'pickle'"):
        layerwise.export(table, "pickle")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_a_missing_package_is_a_sentence(
    table: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(_formats.importlib.util, "find_spec", lambda name: None)
    ended = call("export", table, "--format", format)
    assert_refused(ended, f'pip install "layerwise[{format}]"')
    with pytest.raises(MissingDependencyError):
        layerwise.export(table, format)
    assert list(Path().iterdir()) == []


def run_of(*inside: keras.Layer) -> Path:
    x, y = load_wine(return_X_y=True)
    block = keras.Sequential(inside) if len(inside) > 1 else inside[0]
    how: dict[str, Any] = {"epochs": 1, "max_depth": 1, "verbose": 0}
    layerwise.train(x, y, block=[block], run_dir="made", **how)
    return Path("made")


def test_a_layer_without_a_form_is_named() -> None:
    pytest.importorskip("onnx")
    run = run_of(layers.Dense(4), layers.UnitNormalization())
    ended = call("export", run, "--format", "onnx")
    assert_refused(ended, "UnitNormalization", "cannot be written as ONNX", "--format torch")
    assert [path.name for path in Path().iterdir()] == ["made"]


class Twice(layers.Dense):
    """A layer of the user's own."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        return 2 * super().call(x)


def test_layers_of_ones_own_are_handed_over() -> None:
    run = run_of(Twice(4))
    assert_refused(call("export", run, "--format", "keras"), "'Twice'", "layers={name: class}")
    exported = layerwise.export(run, "keras", layers={"Twice": Twice})
    assert exported.difference < 1e-6
    job = _formats.Job(layerwise.load(run, {"Twice": Twice}), {}, {"Twice": Twice})
    with pytest.raises(InputError, match="layers of your own"):
        _formats.FORMATS["torch"].write(job, Path("net.pt2"))
    assert sorted(path.name for path in Path().iterdir()) == ["made", "made.keras"]


def test_exits_where_there_are_none() -> None:
    """Heads of blocks that were trained on fit them no more, and the run is none the worse."""
    x, y = load_wine(return_X_y=True)
    how: dict[str, Any] = {"epochs": 1, "max_depth": 2, "window": 2, "verbose": 0}
    rule = layerwise.FixedDepth("last")
    dense = lambda depth: layers.Dense(4)  # noqa: E731
    layerwise.train(x, y, block=dense, depth_rule=rule, run_dir="made", **how)
    assert call("export", "made", "--format", "safetensors").code == 0
    ended = call("export", "made", "--format", "keras", "--exits")
    assert_refused(ended, "kept no early exits")


@pytest.mark.parametrize(
    ("rows", "message"),
    [(np.ones((3, 5)), r"\(n, 13\)"), (np.full((3, 13), "a"), "numbers"), ([1, 2], r"\(n, 13\)")],
    ids=["shape", "texts", "flat"],
)
def test_rows_that_do_not_fit(table: Path, rows: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        layerwise.export(table, "safetensors", rows=rows)


# --- PyTorch


@pytest.mark.slow
def test_pytorch_opens_it_without_keras(images: Path) -> None:
    pytest.importorskip("torch")
    ended = call("export", images, "--format", "torch", "--out", "net.pt2")
    assert (ended.code, ended.err) == (0, "")
    expected = layerwise.load(images).predict(IMAGES, verbose=0)
    assert_close(by_torch("net.pt2", IMAGES), expected)
    assert call("export", images, "--format", "torch", "--exits", "--out", "e.pt2").code == 0
    assert set(by_torch("e.pt2", IMAGES[:1])) == {"depth_1", "depth_2"}
    assert read(images)["selected_depth"] == 2
