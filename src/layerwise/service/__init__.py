"""What a run on disk is good for: predictions, a file that others open, its report.

`_predict` writes predictions, of images by way of `_predict_images`; `_prepared` is what turns new
data into inputs, `_out` where results may go. `_export` writes a network, `_formats` are the forms
that it may take, `_parity` tells whether two networks predict the same, `_onnx` writes ONNX, and
`_torch_worker` is what another Python runs on Keras' PyTorch. `_reports` draws pages of runs.
"""

from __future__ import annotations

from layerwise.service._export import Exported as Exported
from layerwise.service._export import export as export
from layerwise.service._parity import LIMIT as LIMIT
from layerwise.service._predict import Predicted as Predicted
from layerwise.service._predict import predict as predict
from layerwise.service._reports import compare as compare
from layerwise.service._reports import write_report as write_report
