"""The examples do what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

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
