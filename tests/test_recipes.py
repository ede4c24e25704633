"""Recipes on the real data, in their minute-long form, and the options that only some have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import layerwise
from layerwise.errors import InputError
from layerwise.recipes import OWN, Options, all_recipes, find_recipe


def run(name: str, data_dir: Path, **options: Any) -> tuple[layerwise.TrainResult, Any]:
    data, arguments = find_recipe(name).plan(Options(data_dir=data_dir, fast=True, **options))
    return layerwise.train(data, **arguments, verbose=0), data


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sda", "dbn", "supervised", "none", "predsim"])
def test_on_mnist(data_dir: Path, name: str) -> None:
    result, data = run(f"{name}-mnist", data_dir)
    assert result.test is not None
    assert data.train.rows == 2000
    assert result.model.count_params() > 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sda", "dbn", "supervised", "none"])
def test_a_narrow_top(data_dir: Path, name: str) -> None:
    result, _ = run(f"{name}-mnist", data_dir, top_units=20, epochs=1)
    assert result.model.layers[-1].kernel.shape == (20, 10)


@pytest.mark.slow
def test_forward_forward_reports_both_classifiers(data_dir: Path) -> None:
    result, data = run("forward-forward-mnist", data_dir)
    assert result.test is not None
    guess = layerwise.classify_by_goodness(
        result.blocks, data.test.x, 10, layerwise.ForwardForward(negatives=5)
    )
    assert result.test["goodness_accuracy"] == pytest.approx((guess == data.test.y).mean())
    assert result.test["accuracy"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("objective", [None, "rbm", "supervised"])
def test_on_abalone(data_dir: Path, objective: str | None) -> None:
    """Five epochs are enough to beat the mean of the rings, whose squared error is about 10."""
    result, data = run("abalone", data_dir, objective=objective)
    assert (data.train.rows, data.validation.rows, data.test.rows) == (2177, 1000, 1000)
    assert result.test is not None
    assert result.test["mean_squared_error"] < data.test.y.var()


@pytest.mark.slow
@pytest.mark.parametrize("head_depth", [1, 2])
def test_on_cifar10(data_dir: Path, head_depth: int) -> None:
    result, _ = run("greedy-cnn-cifar10", data_dir, head_depth=head_depth, width=4)
    assert result.model_at(1).layers[0].output.shape == (None, 32, 32, 4)
    assert result.model_at(2).layers[1].output.shape == (None, 16, 16, 8)


def test_abalone_has_three_objectives(data_dir: Path) -> None:
    with pytest.raises(InputError, match="mixed, rbm, supervised"):
        find_recipe("abalone").plan(Options(data_dir=data_dir, objective="predsim"))


@pytest.mark.parametrize("name", OWN)
def test_an_option_that_says_nothing_is_refused(name: str) -> None:
    for recipe in all_recipes():
        options = Options(**{name: 5})
        if name in recipe.own:
            recipe.check(options)
            continue
        with pytest.raises(InputError, match=f"has no option --{name.replace('_', '-')}"):
            recipe.check(options)
    assert any(name in recipe.own for recipe in all_recipes())
