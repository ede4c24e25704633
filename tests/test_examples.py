"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score

import layerwise

FOLDER = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_trial_reports_every_stage_and_can_be_pruned() -> None:
    optuna = pytest.importorskip("optuna")
    module = example("optuna_depth")
    study = module.main(trials=8)
    whole = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert any(t.state == optuna.trial.TrialState.PRUNED for t in study.trials)
    assert all(len(t.intermediate_values) >= t.user_attrs["depth"] for t in whole)
    assert study.best_value == max(t.value for t in whole) > 0.9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_search_over_ray_finds_what_one_process_finds() -> None:
    """Skips where Ray is not installed; its own warnings are not ours."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.util.joblib")
    try:
        search = example("search_ray").main(fits=1, epochs=1, cpus=2)
    finally:
        ray.shutdown()
    x, y = search_data()
    how = {**search.best_params_, "epochs": 1, "fine_tune": 0, "random_state": 0}
    again = layerwise.LayerwiseClassifier(**how)
    expected = cross_val_score(again, x, y, cv=3).mean()
    assert len(search.cv_results_["params"]) == 1
    assert search.best_score_ == pytest.approx(expected, abs=1e-12)


def search_data() -> tuple[Any, Any]:
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


def test_mlflow_is_told_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    # Files are for tests: without a server and a database there is nothing else.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    result = example("track_mlflow").main(epochs=2)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    for name in ("train.loss", "validation.accuracy"):
        split, _, metric = name.partition(".")
        told = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        stages = result.history.to_dict()["stages"]
        assert told == [(stage["depth"], stage[split][metric]) for stage in stages]
    assert run.data.params["selected_depth"] == str(result.selected_depth)
    assert run.data.metrics["test.accuracy"] == result.test["accuracy"]


def test_trackio_is_told_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    result = example("track_trackio").main(epochs=2)
    *stages, last = trackio.SQLiteStorage.get_logs("layerwise", "wine")
    expected = result.history.to_dict()["stages"]
    assert [line["step"] for line in stages] == [stage["depth"] for stage in expected]
    for name in ("train/loss", "validation/accuracy"):
        split, _, metric = name.partition("/")
        told = [line[name] for line in stages]
        assert told == [stage[split][metric] for stage in expected]
    assert last["test/accuracy"] == result.test["accuracy"]


@pytest.fixture
def service() -> Iterator[tuple[str, layerwise.training.TrainResult]]:
    """A process of its own that serves a network, on a free port of this machine alone."""
    for package in ("fastapi", "uvicorn", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    data = layerwise.load_dataset("wine")
    dense = lambda depth: keras.layers.Dense(8, "relu")  # noqa: E731
    how: dict[str, Any] = {"epochs": 2, "max_depth": 1, "verbose": 0}
    result = layerwise.train(data, block=dense, run_dir="run", **how)
    layerwise.export("run", "onnx", "net.onnx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "serve_onnx:app")
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "NETWORK": "net.onnx"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/predict", result
    finally:
        process.terminate()
        process.wait(timeout=30)


def post(url: str, body: Any, patience: float = 60) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    until = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_a_service_answers(service: tuple[str, layerwise.training.TrainResult]) -> None:
    """Over HTTP, the probabilities of the network to 1e-5, and the labels."""
    url, result = service
    rows = layerwise.load_dataset("wine").test.x[:7]
    answer = post(url, {"rows": rows.tolist()})
    expected = result.model.predict(rows, verbose=0)
    np.testing.assert_allclose(answer["output"], expected, atol=1e-5)
    names = [str(label) for label in result.classes]
    assert answer["labels"] == [names[i] for i in expected.argmax(axis=1)]
    for wrong in ([[1, 2]], [["a"] * 13], [[1], [1, 2]], [[float("nan")] * 13]):
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(url, {"rows": wrong})
        assert refused.value.code == 422
        refused.value.close()
