"""Looking into the grown network: what each depth knows, and how the chosen one goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from layerwise.objectives import has_views
from layerwise.progress import Listener, Noted, PhaseStarted
from layerwise.training._depths import PER_DEPTH, look_by_depth
from layerwise.training._gradients import gradients_by_layer
from layerwise.training._predictions import look_at_predictions
from layerwise.training._replica import Replica

READ = {
    "probe": "A linear model on each depth's features, scored on held rows: where it falls, the "
    "layer has lost what the labels need.",
    "reconstruction": "The share of the inputs' variance on held rows that a linear map from the "
    "features gives back: a steep fall is a collapse of information.",
    "similarity": "Linear CKA between a depth's features and those below, 0 to 1: near 1, the "
    "layer adds little.",
    "rank": "How many directions the features make use of: a small number beside the layer's "
    "width means that most units repeat one another.",
    "dead": "The share of units that give the same for every row: they do nothing.",
    "calibration": "Rows by the network's confidence and how often it was right: on the diagonal, "
    "the confidence can be taken at its word.",
    "confusion": "Which classes are taken for which: rows are the true classes.",
    "hardest": "The rows whose own class got the lowest probability: look whether their labels "
    "are right.",
    "gradients": "The norm of the loss' gradient in each block: where it falls by orders of "
    "magnitude towards the input, the lower blocks hardly learn end to end.",
}


def diagnose(
    replica: Replica, model: keras.Model, depth: int, names: Sequence[str], listen: Listener
) -> tuple[dict[str, Any], dict[str, str]]:
    """Look at up to 2,000 rows of each split; nothing is chosen by what is found.

    Args:
        replica: the one that was chosen.
        model: its network.
        depth: of it.
        names: of the diagnostics.
        listen: told of progress.

    Returns:
        What the history says, and pictures: title to SVG.
    """
    found: dict[str, Any] = {}
    pictures: dict[str, str] = {}
    listen(PhaseStarted("looking into the network", 0))
    per_depth = [name for name in names if name in PER_DEPTH]
    if per_depth and has_views(replica.settings.objective(1)):
        listen(Noted("This objective trains on views of the data: no diagnostics by depth."))
    elif per_depth:
        found |= look_by_depth(replica, depth, per_depth)
    if replica.data.classes is not None:
        told, drawn = look_at_predictions(replica, model, names)
        found, pictures = found | told, pictures | drawn
    if "gradients" in names and replica.data.labels is not None:
        found["gradients"] = gradients_by_layer(replica, depth)
    for name in found:
        found[name] = {"read": READ[name], **found[name]}
    return found, pictures
