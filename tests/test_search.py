"""Choosing the depth on a part of the rows: the run on that part, then a run of that depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise.datasets import sampled
from layerwise.depth import explain
from layerwise.errors import DivergedError

X, Y = two_moons(200)
DATA = layerwise.Dataset.from_arrays(X, Y, test_data=two_moons(60, seed=1))


def train(data: Any = DATA, **how: Any) -> layerwise.TrainResult:
    usual: dict[str, Any] = {
        "block": lambda depth: layers.Dense(6, activation="relu"),
        "epochs": 3,
        "max_depth": 4,
        "depth_rule": layerwise.FixedDepth(),
        "optimizer": keras.optimizers.Adam(0.02),
    }
    return layerwise.train(data, **{**usual, **how}, verbose=0)


def weights(result: layerwise.TrainResult) -> list[bytes]:
    return [
        np.asarray(array).tobytes()
        for model in result.models
        for array in (model.get_weights() if model else [])
    ]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"replicates": 2},
        {"cache_dir": "cache"},
        {"schedule": "simultaneous", "head": "fresh"},
        pytest.param(
            {"objective": "reconstruction", "depth_rule": layerwise.Plateau(patience=1)},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["plain", "replicates", "disk", "in step", "unsupervised"],
)
def test_a_search_is_two_runs(how: dict[str, Any]) -> None:
    """Both to the bit: the run on the part of the rows, and the run of that depth on all."""
    part = train(sampled(DATA, 0.3), **how)
    result = train(search_fraction=0.3, **how)
    found = result.history.search
    assert found is not None
    assert found["selected_depth"] == part.selected_depth == result.selected_depth
    assert found["validation"] == [stage.validation for stage in part.history.stages]
    assert found["rows"] == sampled(DATA, 0.3).train.rows == 48
    rule = layerwise.FixedDepth(keep="last")
    alone = train(**{**how, "depth_rule": rule, "max_depth": part.selected_depth})
    assert weights(result) == weights(alone)
    assert result.test == alone.test
    assert len(result.history.stages) == part.selected_depth
    assert "on 48 rows, then grown on all" in explain(result.history)
    assert not Path("cache").exists() or not list(Path("cache").iterdir())


def test_a_sample_keeps_the_shares_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [600, 300, 100])
    data = layerwise.Dataset.from_arrays(rng.normal(size=(1000, 2)), y, unlabeled=X)
    part = sampled(data, 0.25, seed=3)
    assert np.bincount(part.train.y).tolist() == [120, 60, 20]
    assert part.unlabeled is not None
    assert part.unlabeled.rows == 50
    assert part.validation is data.validation
    rows = {row.tobytes() for row in data.train.x}
    assert all(row.tobytes() in rows for row in part.train.x)
    assert part.fingerprint == sampled(data, 0.25, seed=3).fingerprint
    assert part.fingerprint != sampled(data, 0.25, seed=4).fingerprint


def test_a_search_that_finds_nothing() -> None:
    with pytest.raises(DivergedError, match="Every stage of the search diverged"):
        train(search_fraction=0.5, optimizer=keras.optimizers.SGD(1e30), max_depth=1)


def test_the_history_keeps_the_search() -> None:
    history = train(search_fraction=0.3).history
    assert layerwise.History.from_json(history.to_json()).search == history.to_dict()["search"]
    assert "search" not in train(max_depth=1).history.to_dict()
