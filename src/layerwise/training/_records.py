"""From what the replicates report to the one record of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerwise.history import Metric, Metrics, StageRecord, StopReason
from layerwise.training._meter import together
from layerwise.training._outcome import Outcome


def combined(values: Sequence[float]) -> Metric:
    """One replicate's value as it is; several as mean, spread (over n - 1) and values.

    Mean and spread are over the finite ones.
    """
    if len(values) == 1:
        return values[0]
    finite = np.array([value for value in values if np.isfinite(value)])
    return {
        "mean": float(finite.mean()) if len(finite) else None,
        "std": float(finite.std(ddof=1)) if len(finite) > 1 else 0.0 if len(finite) else None,
        "values": [float(value) if np.isfinite(value) else None for value in values],
    }


def combine_metrics(metrics: Sequence[Mapping[str, float] | None]) -> Metrics | None:
    """The same metrics of several replicates as one; None where there are none."""
    present = [m for m in metrics if m is not None]
    if not present:
        return None
    return {name: combined([m.get(name, np.nan) for m in present]) for name in present[0]}


def stage_record(depth: int, outcomes: Sequence[Outcome | None]) -> StageRecord:
    """One record for all replicates; None stands for one that diverged at an earlier depth."""
    present = [outcome for outcome in outcomes if outcome is not None]
    finite = [o for o in present if o.stop_reason != StopReason.DIVERGED]
    shown = finite or present
    nothing = dict.fromkeys(shown[0].metrics["train"], np.nan)

    def metrics(split: str) -> Metrics | None:
        if split not in shown[0].metrics:
            return None
        return combine_metrics([nothing if o is None else o.metrics[split] for o in outcomes])

    return StageRecord(
        depth=depth,
        objective=shown[0].objective,
        head=shown[0].head,
        epochs=max(o.epochs for o in shown),
        stop_reason=_stop_reason(shown),
        seconds=sum(o.seconds for o in present),
        parameters=shown[0].parameters,
        train=metrics("train") or {},
        validation=metrics("validation"),
        test=metrics("test"),
        curves=_mean_curves([o.curves for o in shown]),
        diverged=None if len(outcomes) == 1 else len(outcomes) - len(finite),
        retries=max(o.retries for o in present) or None,
        message=next((o.message for o in shown if o.message), None),
        ledger=together([o.ledger for o in present]),
    )


def _stop_reason(outcomes: Sequence[Outcome]) -> StopReason:
    """Early stopping if it ended any of them."""
    reasons = {outcome.stop_reason for outcome in outcomes}
    if StopReason.EARLY_STOPPING in reasons:
        return StopReason.EARLY_STOPPING
    return outcomes[0].stop_reason


def _mean_curves(curves: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """The mean over the replicates that were still training at each epoch."""
    if len(curves) == 1:
        return {name: list(values) for name, values in curves[0].items()}
    means: dict[str, Any] = {}
    # A replicate that diverged inside its first epoch has none.
    for name in dict.fromkeys(name for curve in curves for name in curve):
        every = [curve.get(name, ()) for curve in curves]
        longest = max(map(len, every))
        padded = np.full((len(curves), longest), np.nan)
        for row, values in zip(padded, every, strict=True):
            row[: len(values)] = values
        known = np.isfinite(padded)
        sums = np.where(known, padded, 0.0).sum(axis=0)
        count = known.sum(axis=0)
        means[name] = np.where(count, sums / np.maximum(count, 1), np.nan).tolist()
    return means
