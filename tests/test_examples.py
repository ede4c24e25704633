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
