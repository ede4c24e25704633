"""The age of abalones: a regression whose inputs say little of the target by themselves."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from layerwise.datasets import Dataset, load_dataset
from layerwise.depth import FixedDepth
from layerwise.errors import InputError
from layerwise.finetune import FineTune
from layerwise.objectives import RBM, Mixed, Supervised
from layerwise.recipes import Options, Recipe


def _abalone(options: Options) -> tuple[Dataset, dict[str, Any]]:
    """Partially supervised by default; `--objective rbm` is the plain stack of RBMs."""
    gaussian = RBM(visible="gaussian")
    first: dict[str, Any] = {
        "mixed": Mixed({"supervised": 0.5, gaussian: 0.5}),
        "rbm": gaussian,
        "supervised": Supervised(),
    }
    named = options.objective or "mixed"
    if named not in first:
        raise InputError(f"abalone has the objectives {', '.join(first)}. Received: {named}.")
    above: Any = Supervised() if named == "supervised" else RBM()
    split = 1000 / 3177 if options.validation_split is None else options.validation_split
    data = load_dataset(
        "abalone", validation_split=split, seed=options.seed, data_dir=options.data_dir
    )
    defaults = {
        "block": lambda depth: layers.Dense(options.width or 100, "sigmoid"),
        "max_depth": 3,
        "depth_rule": FixedDepth(keep="best"),
        "optimizer": lambda depth: keras.optimizers.Adam(1e-3),
        "epochs": 5 if options.fast else 100,
        "batch_size": 20,
        "head": "fresh",
        "fine_tune": FineTune(1e-3, epochs=5 if options.fast else 200, patience=20),
        "baseline": "quick",
    }
    arguments = options.over(defaults)
    return data, {**arguments, "objective": lambda depth: first[named] if depth == 1 else above}


ABALONE = Recipe(
    name="abalone",
    summary="the age of abalones by a partially supervised first layer (--data-dir)",
    plan=_abalone,
    target="test mean squared error 4.18 (Bengio 2007, Gaussian inputs, partially supervised), "
    "4.19 without supervision in the first layer, 4.2 without pretraining; all from memory. "
    "Departures: the last 1,000 rows are for test; Adam.",
    own=("width",),
)
