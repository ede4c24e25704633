"""Greedy layer-wise training of deep networks on Keras.

>>> import layerwise
>>> sorted(name for name in dir(layerwise) if name.startswith("Fixed"))
['FixedDepth']
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

# Keras falls back to TensorFlow where nobody chose. `~/.keras/keras.json` is no choice of the
# user's: Keras writes it by itself. Once Keras is imported its backend is settled.
if "KERAS_BACKEND" not in os.environ and "keras" not in sys.modules:
    os.environ["KERAS_BACKEND"] = "jax"

__version__ = "0.1.0"

if TYPE_CHECKING:
    from layerwise.checkpoint import load as load
    from layerwise.datasets import Dataset as Dataset
    from layerwise.datasets import load_dataset as load_dataset
    from layerwise.depth import FixedDepth as FixedDepth
    from layerwise.depth import OneStandardError as OneStandardError
    from layerwise.depth import Plateau as Plateau
    from layerwise.errors import LayerwiseError as LayerwiseError
    from layerwise.estimators import LayerwiseClassifier as LayerwiseClassifier
    from layerwise.estimators import LayerwiseRegressor as LayerwiseRegressor
    from layerwise.estimators import LayerwiseTransformer as LayerwiseTransformer
    from layerwise.finetune import FineTune as FineTune
    from layerwise.history import History as History
    from layerwise.labelcurve import LabelCurve as LabelCurve
    from layerwise.labelcurve import label_curve as label_curve
    from layerwise.objectives import RBM as RBM
    from layerwise.objectives import Contrastive as Contrastive
    from layerwise.objectives import ForwardForward as ForwardForward
    from layerwise.objectives import InfoPro as InfoPro
    from layerwise.objectives import Mixed as Mixed
    from layerwise.objectives import Objective as Objective
    from layerwise.objectives import PredSim as PredSim
    from layerwise.objectives import Reconstruction as Reconstruction
    from layerwise.objectives import Redundancy as Redundancy
    from layerwise.objectives import Similarity as Similarity
    from layerwise.objectives import Supervised as Supervised
    from layerwise.objectives import Targets as Targets
    from layerwise.objectives import classify_by_goodness as classify_by_goodness
    from layerwise.service import export as export
    from layerwise.trackers import TensorBoard as TensorBoard
    from layerwise.training import TrainResult as TrainResult
    from layerwise.training import resume as resume
    from layerwise.training import train as train

# `import keras` alone takes more than a second, so each public name loads its room on first use.
_ROOMS = {
    "load": "checkpoint",
    "Dataset": "datasets",
    "load_dataset": "datasets",
    "FixedDepth": "depth",
    "OneStandardError": "depth",
    "Plateau": "depth",
    "LayerwiseError": "errors",
    "LayerwiseClassifier": "estimators",
    "LayerwiseRegressor": "estimators",
    "LayerwiseTransformer": "estimators",
    "FineTune": "finetune",
    "History": "history",
    "LabelCurve": "labelcurve",
    "label_curve": "labelcurve",
    "Contrastive": "objectives",
    "ForwardForward": "objectives",
    "InfoPro": "objectives",
    "Mixed": "objectives",
    "Objective": "objectives",
    "PredSim": "objectives",
    "RBM": "objectives",
    "Reconstruction": "objectives",
    "Redundancy": "objectives",
    "Similarity": "objectives",
    "Supervised": "objectives",
    "Targets": "objectives",
    "classify_by_goodness": "objectives",
    "TensorBoard": "trackers",
    "export": "service",
    "TrainResult": "training",
    "resume": "training",
    "train": "training",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'layerwise' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"layerwise.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
