"""What was asked, on which data, with which versions: the content of `run.json`."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import keras

import layerwise
from layerwise.datasets import Dataset
from layerwise.engine import cores, devices
from layerwise.growth import layer_key
from layerwise.objectives import name_of
from layerwise.optimizers import described
from layerwise.training._settings import Settings, described_tuning


def run_facts(data: Dataset, settings: Settings) -> dict[str, Any]:
    """The facts of a run, ready for JSON. A resume must be given the same."""
    tuning, found = settings.fine_tune, data.findings
    # Of images the findings say nothing that is not in `data`.
    columns = {} if found is None or not found.columns else {"findings": found.describe()}
    return {
        "schema": 1,
        "seed": settings.seed,
        "replicates": settings.replicates,
        "engine": settings.engine.name,
        "backend": keras.backend.backend(),
        "depth_rule": str(settings.depth_rule),
        "head": settings.head,
        "monitor": settings.monitor,
        "max_depth": settings.max_depth,
        "fine_tune": None if tuning is None else described_tuning(tuning),
        "baseline": settings.baseline,
        "on_divergence": settings.on_divergence,
        "score_test_each_stage": settings.score_test_each_stage,
        "stages": _of_the_first_stage(settings),
        "optimizer": described(settings.optimizer(1)),
        **_growth(settings),
        "data": data.describe(),
        **columns,
        "versions": _versions(),
        "machine": _machine(),
    }


def _growth(settings: Settings) -> dict[str, Any]:
    """How blocks join the network, as far as it is not the usual way."""
    policy, augment = settings.policy, settings.augment
    told = {
        "window": (policy.window, 1),
        "freeze": (policy.freeze, "all"),
        "init": (settings.init, "fresh"),
        "schedule": (settings.schedule, "sequential"),
        "cache_dtype": (settings.cache_dtype, None),
        "search_fraction": (settings.search_fraction, None),
        "diagnostics": (list(settings.diagnostics), []),
        "augment": (None if augment is None else str(layer_key(augment(0))), None),
    }
    return {name: value for name, (value, usual) in told.items() if value != usual}


def _machine() -> dict[str, Any]:
    """What sums are split over, which moves their last bits."""
    told = {"processor": platform.machine(), "cores": cores()}
    several = len(devices())
    return {**told, "devices": several} if several > 1 else told


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    return {
        "layerwise": layerwise.__version__,
        "python": platform.python_version(),
        "keras": keras.version(),
        backend: importlib.metadata.version(backend),
    }


def _of_the_first_stage(settings: Settings) -> dict[str, Any]:
    """What a stage is trained with; deeper ones may differ where the user gave a callable."""
    optimizer = settings.optimizer(1)
    return {
        "objective": name_of(settings.objective(1)),
        "optimizer": type(optimizer).__name__,
        "epochs": settings.epochs(1),
        "batch size": settings.batch_size(1),
    }
