"""The sentence that says whether growing helped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from layerwise.history import higher_is_better, score_of


def verdict(history: Mapping[str, Any]) -> str:
    """Compare the chosen network's test score with the baselines', in plain words.

    Differences below the standard error of a share counted on the test rows cannot be told here,
    so without the number of rows the sentence gives the figures and says which is ahead.
    """
    chosen, metric = history["selected_depth"], history["monitor"].partition(".")[2]
    if chosen is None:
        return "No network was chosen."
    split, ours = _score(history, metric)
    if ours is None:
        return f"The network of depth {chosen} was chosen."
    said = f"The chosen network of depth {chosen} reaches a {split} {_words(metric)} of {ours:.4f}"
    baseline = history["baseline"]
    if not baseline:
        return f"{said}. No baseline was trained, so this does not say whether growing helped."
    rivals = {name: _number((result[split] or {}).get(metric)) for name, result in baseline.items()}
    finite = {name: value for name, value in rivals.items() if value is not None}
    if not finite:
        return f"{said}. Every baseline failed, so there is nothing to compare it with."
    best = (max if higher_is_better(metric) else min)(finite, key=lambda name: finite[name])
    gain = ours - finite[best] if higher_is_better(metric) else finite[best] - ours
    rival = f"{best.replace('_', ' ')} training with {finite[best]:.4f}"
    if math.isclose(gain, 0.0, abs_tol=5e-5):
        return f"{said}, level with the best baseline, {rival}."
    if gain > 0:
        return f"{said}, ahead of the best baseline, {rival}, by {gain:.4f} on one seed."
    return (
        f"{said}, behind the best baseline, {rival}, by {-gain:.4f} on one seed: "
        "greedy training did not help here."
    )


def _score(history: Mapping[str, Any], metric: str) -> tuple[str, float | None]:
    """The chosen network's score: on test where there is one, else on what it was chosen by."""
    if history["test"] and metric in history["test"]:
        return "test", _number(history["test"][metric])
    split = history["monitor"].partition(".")[0]
    return split, _number(history["stages"][history["selected_depth"] - 1][split][metric])


def _number(metric: Any) -> float | None:
    score = score_of(metric)
    return None if score is None else score.mean


def _words(metric: str) -> str:
    return metric.replace("_", " ")
