"""Objectives: what a stage minimises. One file each, written with `keras.ops`."""

from layerwise.objectives._heads import on_vectors as on_vectors
from layerwise.objectives._protocol import Objective as Objective
from layerwise.objectives._protocol import Targets as Targets
from layerwise.objectives._protocol import finish as finish
from layerwise.objectives._protocol import needs_targets as needs_targets
from layerwise.objectives._protocol import predicts_targets as predicts_targets
from layerwise.objectives._protocol import stage_metrics as stage_metrics
from layerwise.objectives._protocol import stage_target as stage_target
from layerwise.objectives._protocol import takes_sample_weight as takes_sample_weight
from layerwise.objectives._reconstruction import Reconstruction as Reconstruction
from layerwise.objectives._supervised import Supervised as Supervised

BY_NAME = {"supervised": Supervised, "reconstruction": Reconstruction}
"""The names that `objective=` accepts."""


def name_of(objective: Objective) -> str:
    """How an objective is called in the history: its name, or the name of its class."""
    return next(
        (name for name, kind in BY_NAME.items() if type(objective) is kind),
        type(objective).__name__,
    )
