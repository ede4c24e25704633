"""A service for an exported network: `layerwise export RUN --format onnx --out net.onnx`, then

    NETWORK=net.onnx uvicorn --app-dir examples serve_onnx:app

answers `POST /predict` with a body such as `{"rows": [[5.1, 3.5, 1.4, 0.2]]}`. It needs
`pip install "layerwise[serve]"` and nothing else of layerwise: neither Keras nor JAX.
"""

import json
import os
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

session = onnxruntime.InferenceSession(os.environ["NETWORK"], providers=["CPUExecutionProvider"])
expected = session.get_inputs()[0]
names = [output.name for output in session.get_outputs()]
classes = json.loads(session.get_modelmeta().custom_metadata_map.get("classes", "null"))
app = FastAPI(title="A network that layerwise grew")


class Rows(BaseModel):
    rows: list[Any]


@app.post("/predict")
def predict(body: Rows) -> dict[str, Any]:
    """What each output gives for each row; for classes also the label that is most likely."""
    try:
        x = np.array(body.rows, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise HTTPException(422, f"rows must be numbers of one shape: {error}") from error
    if list(x.shape[1:]) != expected.shape[1:] or not np.isfinite(x).all():
        raise HTTPException(422, f"a row must hold finite numbers of shape {expected.shape[1:]}")
    outputs = dict(zip(names, session.run(names, {"input": x}), strict=True))
    answer: dict[str, Any] = {name: values.tolist() for name, values in outputs.items()}
    if classes is not None:
        answer["labels"] = [classes[i] for i in outputs[names[-1]].argmax(axis=1)]
    return answer
