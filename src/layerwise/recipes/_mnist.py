"""The experiments on MNIST that made greedy layer-wise training known, each with its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
from keras import layers

from layerwise.datasets import Dataset, load_dataset
from layerwise.depth import FixedDepth
from layerwise.finetune import FineTune
from layerwise.objectives import RBM, ForwardForward, PredSim, Reconstruction
from layerwise.recipes import Options, Recipe

FAST_ROWS = 2000
"""Training rows of the `--fast` form."""


def mnist(options: Options) -> Dataset:
    """50,000 rows to train on and 10,000 to validate, as in the papers; pixels in [0, 1]."""
    split = 1 / 6 if options.validation_split is None else options.validation_split
    data = load_dataset(
        "mnist", validation_split=split, seed=options.seed, data_dir=options.data_dir
    )
    return data.first(FAST_ROWS) if options.fast else data


DEPTH = 3


def dense(units: int, activation: str, top: int | None = None) -> Callable[[int], keras.Layer]:
    """Dense blocks, the first of which flattens the image, the top one perhaps narrower."""

    def block(depth: int) -> keras.Layer:
        layer = layers.Dense(top if top and depth == DEPTH else units, activation)
        return keras.Sequential([layers.Flatten(), layer]) if depth == 1 else layer

    return block


def _plan(options: Options, tune: FineTune | None, **own: Any) -> tuple[Dataset, dict[str, Any]]:
    """Three stages of 1000 units, then the fine-tuning that all of the comparison share."""
    if options.fast and tune is not None:
        tune = replace(tune, epochs=2, batch_size=None, patience=None)
    defaults = {
        "block": dense(1000, "sigmoid", options.top_units),
        "max_depth": DEPTH,
        "depth_rule": FixedDepth(keep="last"),
        "fine_tune": tune,
        **own,
        **({"epochs": 2} if options.fast else {}),
    }
    return mnist(options), options.over(defaults)


TUNE = FineTune(1.0, epochs=100, optimizer="sgd", batch_size=20, patience=20)
"""Plain gradient steps, and the weights of the epoch that did best on validation, as in the Theano
tutorials. There steps are of 0.1 on single rows; on batches of 20, steps of 0.1 or 0.3 stop at a
worse network than steps of 1 (docs/LOG.md)."""


def _sda(options: Options) -> tuple[Dataset, dict[str, Any]]:
    epochs = options.epochs or 100
    return _plan(
        options,
        # Above the classifier that was trained beside it the trunk hardly moves (docs/LOG.md).
        replace(TUNE, head="fresh"),
        objective=Reconstruction(loss="binary_crossentropy", corruption=0.25, tied=True),
        optimizer=lambda depth: keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(1e-3, 500 * epochs)
        ),
        epochs=epochs,
        batch_size=100,
    )


def _dbn(options: Options) -> tuple[Dataset, dict[str, Any]]:
    return _plan(
        options,
        TUNE,
        objective=RBM(k=1),
        optimizer=lambda depth: keras.optimizers.SGD(0.02, momentum=0.9, weight_decay=2e-4),
        epochs=30,
        batch_size=100,
    )


def _supervised(options: Options) -> tuple[Dataset, dict[str, Any]]:
    return _plan(
        options,
        TUNE,
        optimizer=lambda depth: keras.optimizers.Adam(1e-3),
        epochs=15,
        batch_size=100,
        head="fresh",
    )


def _none(options: Options) -> tuple[Dataset, dict[str, Any]]:
    """The whole network is one block: there is nothing to be greedy about."""

    def whole(depth: int) -> keras.Layer:
        widths = (1000, 1000, options.top_units or 1000)
        hidden = [layers.Dense(units, "sigmoid") for units in widths]
        return keras.Sequential([layers.Flatten(), *hidden])

    return _plan(
        options,
        None,
        block=whole,
        max_depth=1,
        # From random weights steps of 1 never start (docs/LOG.md).
        optimizer=lambda depth: keras.optimizers.SGD(0.3),
        epochs=100,
        batch_size=20,
        callbacks=lambda depth: [
            keras.callbacks.EarlyStopping(
                "val_accuracy", patience=20, mode="max", restore_best_weights=True
            )
        ],
    )


def _shifted() -> list[keras.Layer]:
    """Each image moved by up to two pixels."""
    move = layers.RandomTranslation(2 / 28, 2 / 28, fill_mode="constant", interpolation="nearest")
    return [layers.Reshape((28, 28, 1)), move, layers.Reshape((28, 28))]


def _predsim(options: Options) -> tuple[Dataset, dict[str, Any]]:
    def block(depth: int) -> keras.Layer:
        inside = [
            layers.Dense(1024, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.01),
            layers.Dropout(0.1),
        ]
        return keras.Sequential([layers.Flatten(), *inside] if depth == 1 else inside)

    data = mnist(options)
    epochs = options.epochs or (2 if options.fast else 100)
    steps = -(-data.train.rows // 128) * epochs
    marks = [int(share * steps) for share in (0.5, 0.75, 0.89, 0.94)]
    rates = [5e-4 * 0.25**i for i in range(5)]
    defaults = {
        "block": block,
        "objective": PredSim(),
        "schedule": "simultaneous",
        "max_depth": 3,
        "depth_rule": FixedDepth(keep="last"),
        "optimizer": lambda depth: keras.optimizers.Adam(
            keras.optimizers.schedules.PiecewiseConstantDecay(marks, rates)
        ),
        "epochs": epochs,
        "batch_size": 128,
        "augment": _shifted(),
    }
    return data, options.over(defaults)


def _forward_forward(options: Options) -> tuple[Dataset, dict[str, Any]]:
    data = mnist(options)
    epochs = options.epochs or (10 if options.fast else 60)
    steps = -(-data.train.rows // 100) * epochs
    defaults = {
        "block": dense(options.width or (200 if options.fast else 1000), "relu"),
        "objective": ForwardForward(negatives=5),
        "max_depth": DEPTH,
        "depth_rule": FixedDepth(keep="last"),
        # Without decay the classifier on the activities fits the training rows and no others.
        "optimizer": lambda depth: keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(1e-3, steps), weight_decay=0.2
        ),
        "epochs": epochs,
        "batch_size": 100,
    }
    return data, options.over(defaults)


SDA = Recipe(
    name="sda-mnist",
    summary="three stacked denoising autoencoders of 1000 units, then fine-tuned (--data-dir)",
    plan=_sda,
    target="test error 1.30% (Theano tutorial), 1.28% (Vincent 2010, masking 25% as here). "
    "Departures: 100 epochs of Adam a layer on batches of 100; fine-tuning on batches of 20.",
    own=("top_units",),
)
DBN = Recipe(
    name="dbn-mnist",
    summary="three stacked RBMs of 1000 units, then fine-tuned (--data-dir)",
    plan=_dbn,
    target="test error 1.34% (Theano tutorial), 1.24% (Vincent 2010). Departures: 30 epochs a "
    "layer instead of 100, with momentum, on batches of 100.",
    own=("top_units",),
)
SUPERVISED = Recipe(
    name="supervised-mnist",
    summary="the same network grown by supervised stages, then fine-tuned (--data-dir)",
    plan=_supervised,
    target="test error 2.0% (Bengio 2007, from memory).",
    own=("top_units",),
)
NONE = Recipe(
    name="none-mnist",
    summary="the same network from random weights, trained end to end (--data-dir)",
    plan=_none,
    target="test error 2.4% (Bengio 2007, from memory).",
    own=("top_units",),
)
PREDSIM = Recipe(
    name="predsim-mnist",
    summary="three layers of 1024 units that all train at once by local losses (--data-dir)",
    plan=_predsim,
    target="test error 0.62% (Nokland and Eidnes 2019), 0.75% with backpropagation there. "
    "Departures: ours shifts each image by up to two pixels; theirs may do so, from memory.",
)


FORWARD_FORWARD = Recipe(
    name="forward-forward-mnist",
    summary="three layers of 1000 units without backpropagation between them (--data-dir)",
    plan=_forward_forward,
    target="test error 1.36% (Hinton 2022), 1.45% (the best open code). Departures: one layer "
    "after the other, with five wrong labels a row that are drawn once; Adam with weight decay.",
    own=("width",),
)


def _label_curve(options: Options) -> tuple[Dataset, dict[str, Any]]:
    """Two smaller layers, as each point of the curve is ten networks."""
    data = mnist(options)
    epochs = 2 if options.fast else 100
    tune = FineTune(1e-3, epochs, optimizer="adam", batch_size=20, patience=20)
    defaults = {
        "block": dense(500, "sigmoid"),
        "max_depth": 2,
        "objective": Reconstruction(loss="binary_crossentropy", corruption=0.3, tied=True),
        "optimizer": lambda depth: keras.optimizers.Adam(1e-3),
        "epochs": 2 if options.fast else 10,
        "batch_size": 100,
        "fine_tune": tune,
    }
    return data, options.over(defaults)


LABEL_CURVE = Recipe(
    name="label-curve-mnist",
    summary="denoising autoencoders on all rows, labels on few: is pretraining worth it? "
    "(--data-dir)",
    plan=_label_curve,
    labels=(100, 300, 1000, 3000),
)
