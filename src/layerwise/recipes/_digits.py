"""The default job: small real images, everything switched on, under a minute."""

from __future__ import annotations

from typing import Any

import keras

from layerwise.datasets import Dataset, load_dataset
from layerwise.depth import Plateau
from layerwise.diagnostics import NAMES
from layerwise.finetune import FineTune
from layerwise.recipes import Options, Recipe


def _block(depth: int) -> keras.Layer:
    """Dropout, as 1,077 rows to train on are few for 256 units a layer."""
    return keras.Sequential([keras.layers.Dense(256, "relu"), keras.layers.Dropout(0.4)])


def _plan(options: Options) -> tuple[Dataset, dict[str, Any]]:
    split = 0.2 if options.validation_split is None else options.validation_split
    data = load_dataset("digits", validation_split=split, seed=options.seed)
    arguments = options.over(
        {
            "block": _block,
            "optimizer": "adam",
            "epochs": 30,
            "batch_size": 32,
            "max_depth": 6,
            "depth_rule": Plateau(patience=2),
            "fine_tune": FineTune(epochs=20),
            "baseline": "quick",
            # All that cost no training of their own.
            "diagnostics": [name for name in NAMES if name != "gradients"],
        }
    )
    return data, arguments


DIGITS = Recipe(
    name="digits",
    summary="8 x 8 digits from scikit-learn: supervised, depth by validation, fine-tuned, compared",
    plan=_plan,
)
