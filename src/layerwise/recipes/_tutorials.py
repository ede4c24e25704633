"""The experiments of the two tutorials that most people come from, done right."""

from __future__ import annotations

from typing import Any

import keras

from layerwise.datasets import Dataset, load_dataset
from layerwise.depth import FixedDepth
from layerwise.objectives import Reconstruction
from layerwise.recipes import Options, Recipe


def _data(name: str, options: Options) -> Dataset:
    split = 0.2 if options.validation_split is None else options.validation_split
    return load_dataset(name, validation_split=split, seed=options.seed, data_dir=options.data_dir)


def _to_the_end(data: Dataset) -> dict[str, Any]:
    """Grow to the full depth and show the test set at each stage, as the tutorials do.

    The depth is still chosen on validation; without validation rows the last one is kept.
    """
    keep = "best" if data.validation is not None else "last"
    return {"depth_rule": FixedDepth(keep=keep), "score_test_each_stage": True}  # type: ignore[arg-type]


def _blobs(options: Options, **own: Any) -> tuple[Dataset, dict[str, Any]]:
    data = _data("blobs", options)
    defaults = {
        "block": lambda depth: keras.layers.Dense(
            10, activation="relu", kernel_initializer="he_uniform"
        ),
        "optimizer": lambda depth: keras.optimizers.SGD(0.01, momentum=0.9),
        "epochs": 100,
        "batch_size": 32,
        **own,
        **_to_the_end(data),
    }
    return data, options.over(defaults)


def _blobs_supervised(options: Options) -> tuple[Dataset, dict[str, Any]]:
    return _blobs(options, max_depth=11)


def _blobs_autoencoder(options: Options) -> tuple[Dataset, dict[str, Any]]:
    return _blobs(options, max_depth=6, objective=Reconstruction(of="inputs"))


def _cifar10_block(depth: int) -> keras.Layer:
    dense = keras.layers.Dense(256, activation="relu")
    return keras.Sequential([keras.layers.Flatten(), dense]) if depth == 1 else dense


def _cifar10(options: Options) -> tuple[Dataset, dict[str, Any]]:
    data = _data("cifar10", options)
    defaults = {
        "block": _cifar10_block,
        "optimizer": "adam",
        "epochs": 25,
        "batch_size": 250,
        "max_depth": 10,
        "head": "frozen",
        **_to_the_end(data),
    }
    return data, options.over(defaults)


BLOBS_SUPERVISED = Recipe(
    name="blobs-supervised",
    summary="three clusters in the plane, 11 stages of 10 units, SGD (the second tutorial)",
    plan=_blobs_supervised,
    published={
        "test.accuracy": (
            *(0.830, 0.830, 0.824, 0.824, 0.820, 0.826),
            *(0.824, 0.838, 0.830, 0.830, 0.826),
        )
    },
    source="a single run of the tutorial, trained on all 500 rows; here 20% choose the depth",
)

BLOBS_AUTOENCODER = Recipe(
    name="blobs-autoencoder",
    summary="the same data, each block trained to reconstruct the inputs (the second tutorial)",
    plan=_blobs_autoencoder,
    published={
        "test.accuracy": (0.832, 0.842, 0.838, 0.834, 0.762, 0.760),
        "test.loss": (0.000, 0.002, 0.002, 0.028, 2.694, 2.526),
    },
    source="a single run of the tutorial, trained on all 500 rows; here 20% choose the depth",
)

CIFAR10_SUPERVISED = Recipe(
    name="cifar10-supervised",
    summary="CIFAR-10 pixels, 10 stages of 256 units, Adam (the first tutorial; --data-dir)",
    plan=_cifar10,
    published={
        "test.accuracy": (
            *(0.4847, 0.5137, 0.5049, 0.5003, 0.4873),
            *(0.4874, 0.4802, 0.4819, 0.4786, 0.4790),
        ),
        "test.loss": (1.480, 1.395, 1.467, 1.667, 1.936, 2.170, 2.333, 2.470, 2.573, 2.647),
    },
    source="the tutorial's table; its head is frozen from stage 2 on, as --head frozen does here",
)
