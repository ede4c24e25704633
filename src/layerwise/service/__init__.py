"""What a finished run is good for: predictions."""

from __future__ import annotations

from layerwise.service._predict import Predicted as Predicted
from layerwise.service._predict import predict as predict
