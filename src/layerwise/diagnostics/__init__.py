"""What a grown network looks like inside: plain functions of arrays, each with its paper."""

from __future__ import annotations

from layerwise.diagnostics._features import dead_share as dead_share
from layerwise.diagnostics._features import effective_rank as effective_rank
from layerwise.diagnostics._features import linear_cka as linear_cka
from layerwise.diagnostics._gradients import RATE as RATE
from layerwise.diagnostics._gradients import gradient_norms as gradient_norms
from layerwise.diagnostics._gradients import with_activation as with_activation
from layerwise.diagnostics._predictions import Calibration as Calibration
from layerwise.diagnostics._predictions import calibration as calibration
from layerwise.diagnostics._predictions import confused_pairs as confused_pairs
from layerwise.diagnostics._predictions import hardest as hardest
from layerwise.diagnostics._probes import linear_probe as linear_probe
from layerwise.diagnostics._probes import reconstruction as reconstruction

NAMES = (
    "probe",
    "reconstruction",
    "similarity",
    "rank",
    "dead",
    "calibration",
    "confusion",
    "hardest",
    "gradients",
)
"""What may be asked for."""
