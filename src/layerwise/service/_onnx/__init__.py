"""A network as an ONNX file, written with `onnx.helper` and nothing else.

`_graph` collects nodes and weights, `_convert` walks through a network, `_layers` has the layers
with weights or shapes of their own, `_windows` convolutions and pooling, `_activations` functions
of one value. docs/design/export.md says why there is a converter here.
"""

from __future__ import annotations

from layerwise.service._onnx._convert import convert as convert
