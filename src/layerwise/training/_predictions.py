"""How the chosen network's predictions go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise import diagnostics, plots
from layerwise.training._replica import Replica

_CLASSES_SHOWN = 30
"""Up to so many, the whole confusion matrix is kept; beyond, the worst pairs."""


def look_at_predictions(
    replica: Replica, model: keras.Model, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """On the test rows where there are some: nothing is chosen by this."""
    data = replica.data
    split = data.test or data.validation or data.train
    assert data.classes is not None
    classes = [str(label) for label in data.classes]
    chances = probabilities(np.asarray(model.predict(split.x, batch_size=1000, verbose=0)))
    where = next(name for name in ("test", "validation", "train") if data.splits.get(name) is split)
    found: dict[str, Any] = {}
    pictures: dict[str, str] = {}
    if "calibration" in names:
        told = diagnostics.calibration(chances, split.y)
        found["calibration"] = {"split": where, **told._asdict()}
    if "confusion" in names:
        found["confusion"] = {"split": where, **_confusion(chances, split.y, classes)}
    if "hardest" in names:
        rows = diagnostics.hardest(chances, split.y)
        found["hardest"] = {
            "split": where,
            "rows": [_hard(int(row), chances[row], int(split.y[row]), classes) for row in rows],
        }
        gallery = plots.gallery(
            split.take(rows).x, [_caption(one) for one in found["hardest"]["rows"]]
        )
        if gallery is not None:
            pictures[f"The hardest {where} rows"] = gallery
    return found, pictures


def _confusion(chances: NDArray[Any], y: NDArray[Any], classes: Sequence[str]) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(y, chances.argmax(axis=1), labels=np.arange(len(classes)))
    if len(classes) <= _CLASSES_SHOWN:
        return {"classes": list(classes), "matrix": matrix.tolist()}
    pairs = diagnostics.confused_pairs(matrix)
    return {
        "pairs": [
            {"class": classes[a], "predicted": classes[b], "rows": count} for a, b, count in pairs
        ]
    }


def _hard(row: int, chances: NDArray[Any], label: int, classes: Sequence[str]) -> dict[str, Any]:
    likeliest = int(chances.argmax())
    return {
        "row": row,
        "class": classes[label],
        "probability": float(chances[label]),
        "predicted": classes[likeliest],
    }


def _caption(hard: dict[str, Any]) -> str:
    return f"{hard['class']}, taken for {hard['predicted']}"


def probabilities(outputs: NDArray[Any]) -> NDArray[Any]:
    """A network's outputs as `(n_samples, n_classes)`, whether its head ends in a softmax or not.

    One output is the second of two classes.
    """
    from scipy.special import expit, softmax

    outputs = outputs.astype(np.float64)
    within = bool(((outputs >= 0) & (outputs <= 1)).all())
    if outputs.shape[1] == 1:
        second = outputs if within else expit(outputs)
        return np.concatenate([1 - second, second], axis=1)
    if within and np.allclose(outputs.sum(axis=1), 1.0, atol=1e-3):
        return outputs
    return np.asarray(softmax(outputs, axis=1))
