"""The networks that a grown one is compared with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise.baselines import modern, rivals, train_baseline
from layerwise.engine import Result
from layerwise.errors import InputError
from layerwise.history import History, StageRecord, StopReason
from layerwise.training._compare import growing_spent

RNG = np.random.default_rng(0)
X = RNG.random((300, 12), dtype=np.float32)
Y = (X[:, :3].argmax(axis=1)).astype(int)
FULL = ["end_to_end", "shallow", "equal_operations", "equal_time", "random_features", "modern"]


def block(depth: int) -> keras.Layer:
    return layers.Dense(16, "sigmoid")


def grown(**changes: Any) -> layerwise.TrainResult:
    arguments = {
        "block": block, "epochs": 3, "max_depth": 2, "depth_rule": layerwise.FixedDepth("last"),
        "test_data": (X[:50], Y[:50]), "verbose": 0, "baseline": "full",
    }  # fmt: skip
    return layerwise.train(X, Y, **{**arguments, **changes})


@pytest.fixture(scope="module")
def full() -> layerwise.TrainResult:
    return grown(fine_tune=layerwise.FineTune(0.01, epochs=2))


def record(result: layerwise.TrainResult, name: str) -> dict[str, Any]:
    assert result.history.baseline is not None
    return result.history.baseline[name]


def test_a_full_comparison_has_every_network_three_times(full: layerwise.TrainResult) -> None:
    assert full.history.baseline is not None
    assert list(full.history.baseline) == FULL
    for name in FULL:
        one = record(full, name)
        for split in ("validation", "test"):
            values = one[split]["accuracy"]["values"]
            assert len(values) == 3
            assert one[split]["accuracy"]["mean"] == pytest.approx(np.mean(values))
        assert one["rows"] == {"validation": 60, "test": 50}
        assert one["about"]
        assert one["ledger"]["operations"] > 0


def test_seeds_differ(full: layerwise.TrainResult) -> None:
    for name in FULL:
        assert len(set(record(full, name)["test"]["loss"]["values"])) == 3


def test_equal_means_equal(full: layerwise.TrainResult) -> None:
    """Operations to half an epoch; epochs exactly, those of a fine-tuning that was kept too."""
    stages, tuned = full.history.stages, full.history.fine_tune
    assert tuned is not None
    epochs = sum(stage.epochs for stage in stages) + 2 * tuned["kept"]
    assert record(full, "end_to_end")["epochs"] == epochs
    spent = sum(stage.ledger["operations"] for stage in stages) + tuned["ledger"]["operations"]
    rival = record(full, "equal_operations")
    each = rival["ledger"]["operations"] / rival["epochs"]
    assert abs(rival["ledger"]["operations"] - spent) <= each / 2 * (1 + 1e-6)


def a_stage(depth: int, **changes: Any) -> StageRecord:
    scores = {"accuracy": {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}}
    ledger = {"seconds": {"compiling": 8.0, "training": 3.0, "caching": 1.0}, "operations": 100.0}
    facts: dict[str, Any] = {
        "depth": depth, "objective": "supervised", "head": "fresh", "epochs": 5, "seconds": 12.0,
        "stop_reason": StopReason.COMPLETED, "parameters": 1, "train": scores, "curves": {},
        "validation": scores, "test": None, "ledger": ledger, **changes,
    }  # fmt: skip
    return StageRecord(**facts)


def test_what_growing_took_is_that_of_one_replicate_and_of_all_its_stages() -> None:
    history = History([a_stage(1), a_stage(2)], selected_depth=1, monitor="validation.accuracy")
    assert growing_spent(history, "operations") == 2 * 100.0 / 2
    assert growing_spent(history, "seconds") == 2 * 4.0 / 2
    history.fine_tune = {"ledger": {"seconds": {"training": 6.0}, "operations": 50.0}}
    assert growing_spent(history, "operations") == (2 * 100.0 + 50.0) / 2
    assert growing_spent(history, "seconds") == (2 * 4.0 + 6.0) / 2
    uncounted = {"seconds": {"training": 1.0}, "operations": None}
    history.stages.append(a_stage(3, ledger=uncounted))
    assert growing_spent(history, "operations") is None
    assert growing_spent(history, "seconds") == (2 * 4.0 + 6.0 + 1.0) / 2


def test_epochs_are_those_of_the_stages_that_were_kept() -> None:
    """What did not get into the network is no part of what trained it."""
    data = {"test_data": None, "validation_data": (X, Y), "baseline": "quick", "max_depth": 3}
    keep_first = SimpleNamespace(
        stop=lambda history: False, select=lambda history: 1, check=lambda **run: None
    )
    result = grown(**data, depth_rule=keep_first, epochs=lambda depth: 10**depth // 10)
    assert [stage.epochs for stage in result.history.stages] == [1, 10, 100]
    assert record(result, "end_to_end")["epochs"] == 1


def test_parameters_are_those_of_the_networks(full: layerwise.TrainResult) -> None:
    whole = full.model.count_params()
    assert record(full, "end_to_end")["parameters"] == whole
    assert record(full, "random_features")["parameters"] == whole
    assert record(full, "shallow")["parameters"] == 12 * 16 + 16 + 16 * 3 + 3
    # BatchNorm brings four numbers a unit, one of which is in place of the bias.
    assert record(full, "modern")["parameters"] == whole + 2 * 3 * 16


def test_random_features_move_the_head_alone() -> None:
    """Nothing is computed backward through the blocks."""
    result = grown(baseline="full", optimizer=keras.optimizers.SGD(0.05), epochs=1)
    seen = record(result, "random_features")["ledger"]["operations"]
    whole = record(result, "end_to_end")["ledger"]["operations"]
    assert seen < 0.62 * whole


def test_a_network_of_one_block_has_no_shallow_one_beside_it() -> None:
    assert [rival.name for rival in rivals("full", 1)] == [n for n in FULL if n != "shallow"]
    assert [rival.name for rival in rivals("quick", 2)] == ["end_to_end", "shallow"]


def test_quick_is_one_seed_each() -> None:
    result = grown(baseline="quick")
    assert result.history.baseline is not None
    assert list(result.history.baseline) == ["end_to_end", "shallow"]
    assert isinstance(record(result, "shallow")["test"]["accuracy"], float)


def test_end_to_end_is_keras_own_training_of_the_same_network() -> None:
    """The same weights, order and optimizer through `fit`: the same accuracy to the last bit."""
    one, two = (grown(baseline="quick", engine=name) for name in ("auto", "fit"))
    for name in ("end_to_end", "shallow"):
        assert record(one, name)["test"] == pytest.approx(record(two, name)["test"], rel=1e-5)


def test_a_baseline_that_diverges_has_no_scores() -> None:
    """Whatever the engine says of broken weights: an accuracy of 10% may be a finite number."""
    engine: Any = SimpleNamespace(evaluate=lambda problem, split: {"loss": 2.0, "accuracy": 0.1})
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    problem: Any = SimpleNamespace(validation="some rows", model=model)
    for reason, expected in ((StopReason.DIVERGED, True), (StopReason.COMPLETED, False)):
        found = train_baseline(engine, problem, None, lambda r=reason: Result({}, 4, r))
        assert found.validation is not None
        assert all(np.isnan(value) == expected for value in found.validation.values())
        assert found.test is None
        assert (found.parameters, found.epochs) == (9, 4)


@pytest.mark.parametrize("name", ["full", "quick"])
def test_a_resumed_comparison_is_the_same(name: str, tmp_path: Any) -> None:
    before = grown(baseline=name, run_dir=tmp_path / "run")
    (tmp_path / "run" / "SHA256SUMS").write_text(
        (tmp_path / "run" / "SHA256SUMS").read_text().splitlines(keepends=True)[0]
    )
    arguments = {
        "block": block, "epochs": 3, "max_depth": 2, "depth_rule": layerwise.FixedDepth("last"),
        "test_data": (X[:50], Y[:50]), "verbose": 0, "baseline": name,
    }  # fmt: skip
    after = layerwise.resume(tmp_path / "run", X, Y, **arguments)
    for rival in before.history.baseline or {}:
        assert record(after, rival)["test"] == record(before, rival)["test"]
        assert record(after, rival)["epochs"] == record(before, rival)["epochs"]


def test_modern_has_the_same_widths_in_todays_dress() -> None:
    model = keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.Sequential([layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D()]),
        keras.Sequential([layers.Flatten(), layers.Dense(8, activation="tanh")]),
        layers.Dense(3),
    ])  # fmt: skip
    made = modern(model, seed=3)
    assert made is not None
    leaves = [type(layer).__name__ for layer in made._flatten_layers(include_self=False)
              if not isinstance(layer, keras.Sequential | layers.InputLayer)]  # fmt: skip
    dressed = ["BatchNormalization", "ReLU", "Dropout"]
    expected = ["Conv2D", *dressed, "MaxPooling2D", "Flatten", "Dense", *dressed, "Dense"]
    assert sorted(leaves) == sorted(expected)
    assert made.output_shape == model.output_shape
    head = made.layers[-1]
    assert head.activation is keras.activations.linear
    assert [tuple(v.shape) for v in head.variables] == [(8, 3), (3,)]
    kernel = np.asarray(made.layers[1].layers[1].layers[0].kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 36), rel=0.15), "He et al. 2015"


def test_modern_leaves_what_is_there_already() -> None:
    model = keras.Sequential([
        keras.Input((5,)), layers.Dense(8, use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.Dropout(0.5), layers.Dense(2),
    ])  # fmt: skip
    made = modern(model, seed=0)
    assert made is not None
    assert [type(layer) for layer in made.layers] == [type(layer) for layer in model.layers]


def test_there_is_no_modern_form_of_a_network_without_kernels() -> None:
    model = keras.Sequential([keras.Input((5,)), layers.Rescaling(2.0), layers.Dense(2)])
    assert modern(model, seed=0) is None


def test_a_comparison_needs_labels() -> None:
    with pytest.raises(InputError, match="compares predictions, so it needs labels"):
        layerwise.train(X, block=block, objective="reconstruction", baseline="full", verbose=0)
