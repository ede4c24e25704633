"""The sentence that says whether growing helped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from layerwise.history import Score, higher_is_better, score_of


def verdict(history: Mapping[str, Any]) -> str:
    """Compare the chosen network with the baselines, in plain words.

    On test where the run has test data, else on what the depth was chosen by. How large a
    difference could be chance is not judged: a baseline is one run.
    """
    chosen = history["selected_depth"]
    if chosen is None:
        return "No network was chosen."
    metric = compared_metric(history)
    split, score = _score(history, metric)
    if score is None:
        return f"The network of depth {chosen} was chosen."
    ours, replicates = score.mean, score.replicates
    said = (
        f"The chosen network of depth {chosen} reaches a {split} {metric.replace('_', ' ')} "
        f"of {ours:.4f}"
    )
    baseline = history["baseline"]
    if not baseline:
        return f"{said}. No baseline was trained, so this does not say whether growing helped."
    rivals = {
        name: _number((result.get(split) or {}).get(metric)) for name, result in baseline.items()
    }
    finite = {name: value for name, value in rivals.items() if value is not None}
    if not finite:
        return f"{said}. Every baseline failed, so there is nothing to compare it with."
    best = (max if higher_is_better(metric) else min)(finite, key=lambda name: finite[name])
    gain = ours - finite[best] if higher_is_better(metric) else finite[best] - ours
    rival = f"{best.replace('_', ' ')} training with {finite[best]:.4f}"
    if math.isclose(gain, 0.0, abs_tol=5e-5):
        return f"{said}, level with the best baseline, {rival}."
    runs = "on one seed" if replicates == 1 else f"as a mean of {replicates} runs against one"
    if gain > 0:
        return f"{said}, ahead of the best baseline, {rival}, by {gain:.4f} {runs}."
    return (
        f"{said}, behind the best baseline, {rival}, by {-gain:.4f} {runs}: "
        "greedy training did not help here."
    )


def compared_metric(history: Mapping[str, Any]) -> str:
    """The metric to compare by: the monitored one, unless the baselines do not share it.

    The loss of an autoencoder is no loss of a classifier.
    """
    metric = str(history["monitor"].partition(".")[2])
    for name in ("accuracy", "mean_squared_error"):
        if metric != name and any(
            name in (result.get("test") or result.get("validation") or {})
            for result in (history["baseline"] or {}).values()
        ):
            objective = history["stages"][0]["objective"]
            return metric if objective == "supervised" else name
    return metric


def _score(history: Mapping[str, Any], metric: str) -> tuple[str, Score | None]:
    """The chosen network's score, fine-tuning included where it was kept."""
    if history["test"] and metric in history["test"]:
        return "test", score_of(history["test"][metric])
    tuned = history["fine_tune"]
    if tuned and tuned["kept"]:
        return "validation", score_of(tuned["validation_after"].get(metric))
    split = history["monitor"].partition(".")[0]
    return split, score_of(history["stages"][history["selected_depth"] - 1][split].get(metric))


def _number(metric: Any) -> float | None:
    score = score_of(metric)
    return None if score is None else score.mean
