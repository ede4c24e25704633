"""The command line: what it prints, which exit code it ends with, what it leaves on disk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import layerwise.cli
import layerwise.cli._run
import layerwise.recipes
from layerwise.datasets import Dataset
from layerwise.errors import LayerwiseError
from layerwise.files import RunLock
from layerwise.recipes import Recipe

NAMES = [
    "digits",
    "blobs-supervised",
    "blobs-autoencoder",
    "cifar10-supervised",
    "sda-mnist",
    "dbn-mnist",
    "supervised-mnist",
    "none-mnist",
    "predsim-mnist",
    "forward-forward-mnist",
    "label-curve-mnist",
    "abalone",
    "greedy-cnn-cifar10",
]
SMALL = ("blobs-supervised", "--epochs", "2", "--max-depth", "2")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path) -> Ended:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["layerwise", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            layerwise.cli.main()
    assert isinstance(stop.value.code, int)
    return Ended(stop.value.code, out.getvalue(), err.getvalue())


def read(folder: Path, name: str = "history.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text())


def without(value: Any, *names: str) -> Any:
    """The same JSON without some keys, at any depth."""
    if isinstance(value, dict):
        return {key: without(item, *names) for key, item in value.items() if key not in names}
    if isinstance(value, list):
        return [without(item, *names) for item in value]
    return value


def test_recipes_are_listed() -> None:
    ended = call("recipes")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[0] for line in ended.out.splitlines()] == NAMES
    assert all(recipe.summary in ended.out for recipe in layerwise.recipes.all_recipes())


def test_the_doctor_shows_versions_and_room(tmp_path: Path) -> None:
    ended = call("doctor", "--out", tmp_path / "not" / "yet")
    assert (ended.code, ended.err) == (0, "")
    found = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert found["keras"].strip() == keras.version()
    assert found["backend"].strip() == "jax"
    assert re.search(r"matrix products +[1-9][\d,]* GFLOP/s", ended.out)
    assert re.search(r"self-test +two stages on wine in [\d.]+ s, test accuracy \d", ended.out)
    assert 'pip install "layerwise[torch]"' in ended.out


def test_the_doctor_says_when_training_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise import doctor

    monkeypatch.setattr(doctor, "_GOOD", 1.5)
    assert re.search(r"self-test +FAILED: .* expected more than 1.5", call("doctor").out)


def test_the_doctor_measures_room(tmp_path: Path) -> None:
    ended = call("doctor", "--out", tmp_path / "not" / "yet")
    free = shutil.disk_usage(tmp_path).free / 2**30
    assert abs(float(re.search(r"([\d.]+) GB", ended.out)[1]) - free) < 5  # type: ignore[index]
    assert list(tmp_path.iterdir()) == []


class Job(NamedTuple):
    """A finished `layerwise run`."""

    ended: Ended
    folder: Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The default recipe, cut short; run once for all tests that look at it."""
    folder = tmp_path_factory.mktemp("cli") / "digits"
    ended = call("run", "digits", "--epochs", "2", "--max-depth", "2", "--out", folder)
    return Job(ended, folder)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A small run with `--json`."""
    folder = tmp_path_factory.mktemp("cli") / "blobs"
    return Job(call("run", *SMALL, "--seed", "5", "--json", "--out", folder), folder)


def test_a_run_leaves_its_files(digits: Job) -> None:
    assert digits.ended.code == 0
    names = {"run.json", "history.json", "model.keras", "depth.svg", "report.html"}
    found = {path.name for path in digits.folder.iterdir()}
    assert found == names | {"SHA256SUMS", "checkpoints", "events.jsonl"}
    model = keras.models.load_model(digits.folder / "model.keras", compile=False)
    assert len(model.layers) == read(digits.folder)["selected_depth"] + 1
    assert model.predict(np.zeros((3, 64), "float32"), verbose=0).shape == (3, 10)


def test_the_model_loads_compiled_without_a_warning(digits: Job) -> None:
    keras.models.load_model(digits.folder / "model.keras")


def test_run_json_says_what_was_asked(digits: Job) -> None:
    run = read(digits.folder, "run.json")
    assert run["recipe"] == "digits"
    # Who runs the tests may name a folder of data.
    asked = {name: value for name, value in run["options"].items() if name != "data_dir"}
    assert asked == {"seed": 0, "epochs": 2, "max_depth": 2}
    assert run["command"].startswith("layerwise run digits --epochs 2")
    assert (run["seed"], run["replicates"], run["max_depth"]) == (0, 1, 2)
    assert run["data"]["name"] == "digits"
    assert run["versions"]["keras"] == keras.version()


def test_the_last_lines_say_what_matters(digits: Job) -> None:
    history = read(digits.folder)
    assert digits.ended.out.splitlines()[-5:] == [
        f"Chosen depth: {history['selected_depth']}",
        f"Test loss: {history['test']['loss']:.4f}",
        f"Test accuracy: {history['test']['accuracy']:.4f}",
        f"Run folder: {digits.folder}",
        f"Report: {digits.folder / 'report.html'}",
    ]


def test_the_table_holds_the_numbers_of_the_history(digits: Job) -> None:
    history = read(digits.folder)
    rows = [line.split() for line in digits.ended.out.splitlines()[2:4]]
    for row, stage in zip(rows, history["stages"], strict=True):
        mark = "*" if stage["depth"] == history["selected_depth"] else ""
        expected = [stage[s][m] for m in ("accuracy", "loss") for s in ("train", "validation")]
        assert row[0] == f"{mark}{stage['depth']}"
        assert row[1:5] == [f"{value:.4f}" for value in expected]


def test_a_person_reads_no_progress_on_standard_output(digits: Job) -> None:
    assert "stage 1," not in digits.ended.out
    stages = [line for line in digits.ended.err.splitlines() if line.startswith("stage ")]
    assert [line.partition(",")[0] for line in stages] == ["stage 1", "stage 2"]


def test_json_is_one_object_on_standard_output(blobs: Job) -> None:
    assert blobs.ended.code == 0
    assert blobs.ended.out.count("\n") == 1
    assert json.loads(blobs.ended.out) == without(read(blobs.folder), "curves")
    assert blobs.ended.err.startswith("stage 1, train accuracy ")


def test_the_same_seed_gives_the_same_history(blobs: Job, tmp_path: Path) -> None:
    assert call("run", *SMALL, "--seed", "5", "--out", tmp_path / "again").code == 0
    assert call("run", *SMALL, "--seed", "6", "--out", tmp_path / "other").code == 0
    first, again, other = (
        without(read(folder), "seconds", "ledger")
        for folder in (blobs.folder, tmp_path / "again", tmp_path / "other")
    )
    assert again == first
    # And the comparison can fail: another seed gives other numbers.
    assert other["stages"][0]["train"] != first["stages"][0]["train"]


def test_without_out_the_run_goes_below_runs(tmp_path: Path) -> None:
    ended = call("run", "blobs-supervised", "--epochs", "1", "--max-depth", "1")
    assert ended.code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("blobs-supervised-")
    assert (folder / "report.html").exists()
    assert f"Run folder: runs/{folder.name}" in ended.out


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
        (("--baseline", "none"), "baseline", "none"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("recipe", ["digits", "blobs-supervised", "blobs-autoencoder"])
def test_each_option_replaces_the_recipes_value(
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    option: tuple[str, str],
    argument: str,
    value: object,
) -> None:
    given: dict[str, Any] = {}

    def train(data: Dataset, **arguments: Any) -> None:
        given.update(arguments)
        raise LayerwiseError("seen")

    monkeypatch.setattr(layerwise.cli._run, "train", train)
    # A failure of ours is exit code 1 and its sentence, whatever it is.
    assert call("run", recipe, *option) == Ended(1, "", "Error: seen\n")
    assert given[argument] == value


def test_options_reach_the_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--seed", "3", "--replicates", "2", "--head", "fresh", "--engine", "compiled")
    ended = call("run", *SMALL, *options, "--epochs", "1", "--baseline", "none", "--out", out)
    assert ended.code == 0
    run, history = read(out, "run.json"), read(out)
    assert (run["seed"], run["replicates"], run["head"]) == (3, 2, "fresh")
    assert [stage["head"] for stage in history["stages"]] == ["fresh", "fresh"]
    assert len(history["stages"][0]["validation"]["accuracy"]["values"]) == 2
    assert [stage["epochs"] for stage in history["stages"]] == [1, 1]
    assert history["baseline"] is None
    assert "No baseline was trained" in (out / "report.html").read_text()


def test_the_fit_engine_reaches_the_run(tmp_path: Path) -> None:
    assert call("run", *SMALL, "--engine", "fit", "--out", tmp_path / "run").code == 0
    assert read(tmp_path / "run", "run.json")["engine"] == "fit"


def test_another_objective_and_a_baseline_reach_the_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--objective", "reconstruction", "--baseline", "quick", "--out", out)
    assert call("run", *SMALL, *options).code == 0
    history = read(out)
    assert {stage["objective"].lower() for stage in history["stages"]} == {"reconstruction"}
    assert "predictor_loss" in history["stages"][0]["train"]
    assert "end_to_end" in history["baseline"]


def test_without_validation_the_last_depth_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = call("run", *SMALL, "--max-depth", "3", "--validation-split", "0", "--out", out)
    assert ended.code == 0
    history = read(out)
    assert history["selected_depth"] == 3 == len(history["stages"])
    assert history["depth_rule"] == "fixed_depth(keep=last)"
    assert history["monitor"] == "train.accuracy"
    assert history["stages"][0]["validation"] is None
    assert read(out, "run.json")["data"]["rows"] == {"train": 500, "test": 500}


def assert_refused(ended: Ended, *fragments: str) -> None:
    """Exit code 2 and one sentence on standard error."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1, "one line"
    for fragment in fragments:
        assert fragment in ended.err


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("nosuch",), ("no recipe 'nosuch'", *NAMES)),
        (("digits", "--objective", "nope"), ("Unknown objective 'nope'", "reconstruction")),
        (("blobs-supervised", "--validation-split", "1.5"), ("`validation_split`", "1.5")),
        (("blobs-supervised", "--validation-split", "-0.1"), ("`validation_split`", "-0.1")),
        (("blobs-supervised", "--validation-split", "nan"), ("`validation_split`", "nan")),
        (("blobs-supervised", "--validation-split", "0.0001"), ("split", "0.0001")),
        (("digits", "--validation-split", "0"), ("no validation data",)),
        (("cifar10-supervised", "--data-dir", "absent"), ("absent", "missing", "data_batch_1")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    assert_refused(call("run", *arguments, "--out", tmp_path / "run"), *fragments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("run", "digits", "--engine", "nope"), ("--engine", "nope", "compiled")),
        (("run", "digits", "--head", "nope"), ("--head", "nope", "carry")),
        (("run", "digits", "--baseline", "nope"), ("--baseline", "nope", "quick")),
        (("run", "digits", "--epochs", "0"), ("--epochs", "1")),
        (("run", "digits", "--epochs", "1.5"), ("--epochs", "integer")),
        (("run", "digits", "--max-depth", "0"), ("--max-depth", "1")),
        (("run", "digits", "--replicates", "0"), ("--replicates", "1")),
        (("run", "digits", "--batch-size", "0"), ("--batch-size", "1")),
        (("run", "digits", "--seed", "-1"), ("--seed", "0")),
        (("run", "digits", "--validation-split", "x"), ("--validation-split", "number")),
        (("run", "digits", "--nope"), ("--nope",)),
        (("run", "digits", "more"), ("more",)),
        (("run",), ("RECIPE",)),
        (("nope",), ("nope",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_explained(
    tmp_path: Path, arguments: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    """What the parser refuses comes with the usage; the last line is the sentence."""
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err
    last = ended.err.splitlines()[-1]
    assert last.startswith("Error: ")
    for fragment in fragments:
        assert fragment.lower() in last.lower()
    assert list(tmp_path.iterdir()) == []


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_out_on_a_run_is_refused(blobs: Job) -> None:
    before = contents(blobs.folder)
    refused = call("run", *SMALL, "--out", blobs.folder)
    assert_refused(refused, str(blobs.folder), "holds a run", "layerwise resume")
    assert contents(blobs.folder) == before


def test_resume_of_a_finished_run_prints_its_summary(blobs: Job) -> None:
    before = contents(blobs.folder)
    ended = call("resume", blobs.folder, "--json")
    assert ended == Ended(0, blobs.ended.out, "")
    assert contents(blobs.folder) == before
    assert "Chosen depth" in call("resume", blobs.folder).out


def test_resume_makes_damaged_files_again(blobs: Job, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(blobs.folder, tmp_path / "run"))
    page = bytearray((folder / "report.html").read_bytes())
    page[100] ^= 1
    (folder / "report.html").write_bytes(page)
    ended = call("resume", folder, "--json")
    assert ended.code == 0
    assert "report.html is damaged. It is made again." in ended.err
    assert ended.err.count("from its checkpoint") == 2
    assert without(json.loads(ended.out), "seconds", "ledger") == without(
        json.loads(blobs.ended.out), "seconds", "ledger"
    )
    assert call("resume", folder, "--json").err == ""


def test_resume_goes_on_with_the_options_of_the_run(blobs: Job, tmp_path: Path) -> None:
    """As if it had been killed before it began to train; its seed is 5."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "SHA256SUMS"):
        shutil.copy(blobs.folder / name, folder)
    (folder / "SHA256SUMS").write_text(
        next(
            line
            for line in (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
            if "run.json" in line
        )
    )
    ended = call("resume", folder, "--json")
    assert ended.code == 0
    assert without(json.loads(ended.out), "seconds", "ledger") == without(
        json.loads(blobs.ended.out), "seconds", "ledger"
    )


def test_resume_where_there_is_no_run(tmp_path: Path) -> None:
    assert_refused(call("resume", tmp_path), str(tmp_path), "holds no run")
    assert_refused(call("resume", tmp_path / "nowhere"), "nowhere", "holds no run")


def test_resume_of_a_damaged_run_json(blobs: Job, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(blobs.folder, tmp_path / "run"))
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"seed": 5', '"seed": 6'))
    before = contents(folder)
    assert_refused(call("resume", folder), "run.json", "damaged")
    assert contents(folder) == before


def test_the_second_process_is_told_who_owns_the_run_before_slow_imports(blobs: Job) -> None:
    """The import of Keras takes seconds; the answer, a fraction of one."""
    script = (
        "import atexit, sys; from layerwise.cli import main;"
        "atexit.register(lambda: print('keras' in sys.modules)); main()"
    )
    command = [sys.executable, "-c", script, "resume", str(blobs.folder)]
    with RunLock(blobs.folder):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (1, "False\n")
    assert f"process {os.getpid()} on" in second.stderr


def test_resume_of_a_run_from_python(tmp_path: Path) -> None:
    layerwise.train(
        np.eye(10),
        [0, 1] * 5,
        block=lambda depth: keras.layers.Dense(2),
        epochs=1,
        max_depth=1,
        run_dir=tmp_path / "run",
        verbose=0,
    )
    assert_refused(call("resume", tmp_path / "run"), "started from Python", "layerwise.resume(")


def test_out_on_other_files_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    assert_refused(call("run", *SMALL, "--out", folder), str(folder), "not empty")
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert (folder / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("below", ["", "run", "a/b/run"])
def test_out_on_or_below_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / below
    assert_refused(call("run", *SMALL, "--out", out), str(out), "cannot be written")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "x"


def test_out_on_an_empty_folder_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    ended = call("run", "blobs-supervised", "--epochs", "1", "--max-depth", "1", "--out", folder)
    assert ended.code == 0
    assert (folder / "model.keras").exists()


def _explode(options: layerwise.recipes.Options) -> tuple[Dataset, dict[str, Any]]:
    x = np.random.default_rng(0).normal(size=(60, 2))
    return Dataset.from_arrays(x, x[:, 0] > 0), options.over(
        {
            "block": lambda depth: keras.layers.Dense(4, activation="relu"),
            # The first step throws every weight beyond what a float can hold.
            "optimizer": lambda depth: keras.optimizers.SGD(1e30),
            "epochs": 3,
            "batch_size": 4,
            "max_depth": 2,
        }
    )


@pytest.mark.parametrize("replicates", [1, 3])
def test_a_run_where_all_diverges_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, replicates: int
) -> None:
    explodes = Recipe(name="explodes", summary="it does", plan=_explode)
    monkeypatch.setattr(layerwise.recipes, "all_recipes", lambda: [explodes])
    out = tmp_path / "run"
    ended = call("run", "explodes", "--replicates", str(replicates), "--out", out)
    assert (ended.code, ended.out) == (1, "")
    progress, last = ended.err.splitlines()
    assert progress.startswith("stage 1, ")
    assert "diverged" in progress
    assert last.startswith("Error: Every stage diverged")
    history = read(out)
    assert (history["stop_reason"], history["selected_depth"]) == ("diverged", None)
    assert [stage["stop_reason"] for stage in history["stages"]] == ["diverged"]
    assert not (out / "model.keras").exists()


# What only a process of its own can show.


def spawn(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    code = "from layerwise.cli import main; main()"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], text=True, **options
    )


def finished(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out or "", err or "")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("--help",), "recipes"),
        (("run", "--help"), "--validation-split"),
        (("recipes", "--help"), "recipes"),
    ],
)
def test_help_is_exit_code_0(arguments: tuple[str, ...], fragment: str) -> None:
    ended = finished(spawn(*arguments, env={**os.environ, "COLUMNS": "100"}))
    assert (ended.code, ended.err) == (0, "")
    assert fragment in ended.out


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("layerwise")
    ended = subprocess.run([command, "recipes"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in ended.stdout.splitlines()] == NAMES


def test_an_error_in_a_process_of_its_own_is_exit_code_2(tmp_path: Path) -> None:
    assert_refused(finished(spawn("run", "nosuch")), "no recipe 'nosuch'")
    assert list(tmp_path.iterdir()) == []


def test_help_needs_nothing_heavy() -> None:
    """Help within 0.3 s: the seconds that Keras takes are not spent. Seen without a clock."""
    heavy = "{'keras', 'jax', 'numpy', 'sklearn', 'matplotlib', 'pandas'}"
    code = f"import sys, layerwise.cli; print(sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [("recipes",), ("--help",)])
def test_a_reader_that_goes_away_gets_no_traceback(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        ended = finished(spawn(*arguments, stdout=pipe))
    assert "Traceback" not in ended.err
    assert "BrokenPipe" not in ended.err


class Stop(NamedTuple):
    """A run that a signal stopped."""

    number: signal.Signals
    stages: bool
    ended: Ended
    folder: Path


@pytest.fixture(
    scope="module",
    params=[(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, True)],
    ids=["ctrl-c in the first stage", "ctrl-c later", "sigterm"],
)
def stopped(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stop]:
    """Stop a run that would take hours, in its first stage or after some."""
    number, stages = request.param
    out = tmp_path_factory.mktemp("signal") / "run"
    epochs, depth = ("1", "100000") if stages else ("100000", "2")
    process = spawn(
        "run", "blobs-supervised", "--epochs", epochs, "--max-depth", depth, "--out", out
    )
    try:
        awaited = out / ("history.json" if stages else "run.json")
        for _ in range(600):
            if awaited.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        # Compiling takes a second or two; a signal that arrives inside one of Python's weak
        # reference callbacks there is lost, so this one waits until the stage is training.
        time.sleep(0.2 if stages else 5)
        process.send_signal(number)
        time.sleep(1)
        yield Stop(number, stages, finished(process), out)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_stopped_run_keeps_its_history(stopped: Stop) -> None:
    history = read(stopped.folder)
    assert history["stop_reason"] == "interrupted"
    assert history["selected_depth"] is None
    assert bool(history["stages"]) == stopped.stages
    assert (stopped.folder / "run.json").exists()
    assert not [p for p in stopped.folder.iterdir() if p.name.startswith(".")], "no leftovers"


@pytest.mark.slow
def test_a_stopped_run_shows_no_traceback(stopped: Stop) -> None:
    assert "Traceback" not in stopped.ended.err
    assert stopped.ended.out == ""


@pytest.mark.slow
def test_a_stopped_run_has_the_signals_exit_code(stopped: Stop) -> None:
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143}[stopped.number]
    assert stopped.ended.code == expected


@pytest.mark.slow
def test_a_stopped_run_says_where_its_stages_are(stopped: Stop) -> None:
    last = stopped.ended.err.splitlines()[-1]
    assert last.endswith(f"`layerwise resume {stopped.folder}` goes on from here.")
    said = {signal.SIGINT: "Stopped by SIGINT.", signal.SIGTERM: "Stopped by SIGTERM."}
    assert last.startswith(said[stopped.number])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digits", "--labels", "50"), "need no labels"),
        (("digits", "--labels", "a,b"), "--labels"),
        (("digits",), "Pass --labels"),
        (("nothing",), "no recipe 'nothing'"),
    ],
    ids=["supervised", "letters", "none", "unknown"],
)
def test_a_label_curve_of_nothing_leaves_nothing(arguments: tuple[str, ...], said: str) -> None:
    ended = call("label-curve", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert not Path("runs").exists()


@pytest.mark.engines
def test_keras_is_not_kept_waiting_by_libraries_that_the_command_line_has_no_use_for() -> None:
    """Afterwards they are there as ever; and where a program uses the library, Keras has them. On
    other backends than JAX nothing is kept from it: PyTorch would not be imported."""
    script = """
import sys
from layerwise.cli import main
sys.argv = ["layerwise", "no-such-command"]
if sys.stdin.read() == "main":
    try:
        main()
    except SystemExit:
        pass
import keras
print([name in sys.modules for name in ("matplotlib", "pandas")])
import matplotlib, pandas
print(pandas.DataFrame({"a": [1]}).shape)
"""
    for given, there in (("main", "[False, False]"), ("", "[True, True]")):
        done = subprocess.run(
            [sys.executable, "-c", script], input=given, capture_output=True, text=True, check=True
        )
        said = done.stdout.splitlines()
        assert said[-1] == "(1, 1)"
        if keras.backend.backend() == "jax":
            assert said[0] == there
