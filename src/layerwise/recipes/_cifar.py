"""Greedy convolutional networks on CIFAR-10."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from layerwise.datasets import Dataset, load_dataset
from layerwise.depth import FixedDepth
from layerwise.objectives import Supervised
from layerwise.recipes import Options, Recipe

_DOWN = 2
"""The block that halves the image and doubles the channels."""


def _block(width: int) -> Any:
    def block(depth: int) -> keras.Layer:
        channels = width * (2 if depth >= _DOWN else 1)
        inside: list[keras.Layer] = [layers.MaxPooling2D()] if depth == _DOWN else []
        inside += [
            layers.Conv2D(channels, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
        return keras.Sequential(inside)

    return block


def _augmentation() -> list[keras.Layer]:
    """Moved by up to four pixels with black around, as a crop of a padded image, and flipped."""
    move = layers.RandomTranslation(4 / 32, 4 / 32, fill_mode="constant", interpolation="nearest")
    return [move, layers.RandomFlip("horizontal")]


def _greedy_cnn(options: Options) -> tuple[Dataset, dict[str, Any]]:
    split = 0.1 if options.validation_split is None else options.validation_split
    data = load_dataset(
        "cifar10", validation_split=split, seed=options.seed, data_dir=options.data_dir
    )
    if options.fast:
        data = data.first(2000)
    epochs = options.epochs or (1 if options.fast else 50)
    steps = -(-data.train.rows // 128)
    marks = [round(share * epochs) * steps for share in (0.3, 0.6, 0.9)]
    rates = [0.1 * 0.2**i for i in range(4)]
    defaults = {
        "block": _block(options.width or (8 if options.fast else 128)),
        "objective": Supervised(head_depth=options.head_depth or 1),
        "head": "fresh",
        "max_depth": 2 if options.fast else 4,
        "depth_rule": FixedDepth(keep="best"),
        "optimizer": lambda depth: keras.optimizers.SGD(
            keras.optimizers.schedules.PiecewiseConstantDecay(marks, rates),
            momentum=0.9,
            weight_decay=5e-4,
        ),
        "epochs": epochs,
        "batch_size": 128,
        "augment": _augmentation(),
    }
    return data, options.over(defaults)


GREEDY_CNN = Recipe(
    name="greedy-cnn-cifar10",
    summary="a convolutional network grown with heads of --head-depth layers, for a GPU "
    "(--data-dir); `--width 32 --max-depth 3 --epochs 5` for a small machine",
    plan=_greedy_cnn,
    target="test accuracy 88.3, 90.4 and 91.7% with heads of 1, 2 and 3 layers (Belilovsky 2019). "
    "Departures: a tenth of the training rows chooses the depth; one halving, by pooling; weights "
    "decay apart from the gradient.",
    own=("width", "head_depth"),
)
