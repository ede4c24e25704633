"""What a run on disk is good for: predictions, its report, a comparison with others."""

from __future__ import annotations

from layerwise.service._predict import Predicted as Predicted
from layerwise.service._predict import predict as predict
from layerwise.service._reports import compare as compare
from layerwise.service._reports import write_report as write_report
