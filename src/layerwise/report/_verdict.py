"""The sentence that says whether growing helped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from layerwise.history import Score, higher_is_better, score_of

_LEVEL = 5e-5
"""Differences that the four digits shown do not show."""


@dataclass(frozen=True)
class Verdict:
    """Whether greedy training helped: what to say, and in a word.

    `unknown`: there is nothing to compare with.
    """

    kind: Literal["helped", "level", "behind", "unknown"]
    sentence: str


def verdict(history: Mapping[str, Any]) -> Verdict:
    """Compare the chosen network with the best of the baselines, in plain words.

    On test where the run has test data, else on what the depth was chosen by. A difference counts
    where it is larger than chance explains: the spread of the seeds, where a side has several (a
    two-sided t interval of 95%; a side with one seed is taken to spread as the other does), and for
    accuracies the number of rows that were scored (two independent proportions, 95%). To be the
    best of several is itself luck in part, which favours the baselines.

    Args:
        history: as in `history.json`.
    """
    chosen = history["selected_depth"]
    if chosen is None:
        return Verdict("unknown", "No network was chosen.")
    metric = compared_metric(history)
    split, ours = _own_score(history, metric)
    if ours is None:
        return Verdict("unknown", f"The network of depth {chosen} was chosen.")
    name = f"{split} {metric.replace('_', ' ')}"
    said = f"The chosen network of depth {chosen} reaches a {name} of {_shown(ours)}"
    baselines = history["baseline"]
    if not baselines:
        return Verdict(
            "unknown",
            f"{said}. No baseline was trained, so this does not say whether growing helped.",
        )
    scores = {
        rival: score_of((record.get(split) or {}).get(metric))
        for rival, record in baselines.items()
    }
    finite = {rival: score for rival, score in scores.items() if score is not None}
    if not finite:
        return Verdict(
            "unknown", f"{said}. Every baseline failed, so there is nothing to compare it with."
        )
    best = (max if higher_is_better(metric) else min)(finite, key=lambda rival: finite[rival].mean)
    rows = (baselines[best].get("rows") or {}).get(split)
    kind, judged = _judged(ours, finite[best], metric, rows)
    rival = f"{best.replace('_', ' ')} training, reaches {_shown(finite[best])}"
    of = f"the best of {len(finite)} baselines" if len(finite) > 1 else "the only baseline"
    failed = [rival.replace("_", " ") for rival, score in scores.items() if score is None]
    return Verdict(
        kind,
        f"{_OPENING[kind]}: the chosen network of depth {chosen} reaches a {name} of "
        f"{_shown(ours)}; {of}, {rival}: {judged}."
        + (f" Baselines that failed: {', '.join(failed)}." if failed else "")
        + ("" if split == "test" else f" There are no test rows: {_FLATTERED[split]}"),
    )


_OPENING = {
    "helped": "Greedy training helped here",
    "level": "Greedy training made no difference here that can be told from chance",
    "behind": "Greedy training did not help here",
}


_FLATTERED = {
    "validation": "validation also chose the depth, which flatters it.",
    "train": "these are the rows that trained the networks.",
}


def _judged(
    ours: Score, theirs: Score, metric: str, rows: int | None
) -> tuple[Literal["helped", "level", "behind"], str]:
    gain = ours.mean - theirs.mean
    if not higher_is_better(metric):
        gain = -gain
    if abs(gain) < _LEVEL:
        return "level", "they are level"
    said = f"{abs(gain):.4f} {'ahead' if gain > 0 else 'behind'}"
    chance = chance_explains(ours, theirs, metric, rows)
    if chance is None:
        said += ", on one seed each, so that chance cannot be judged"
    elif abs(gain) <= chance:
        return "level", f"{said}, and chance explains up to {chance:.4f}"
    else:
        said += f", more than the {chance:.4f} that chance explains"
    return ("helped" if gain > 0 else "behind"), said


def chance_explains(ours: Score, theirs: Score, metric: str, rows: int | None) -> float | None:
    """The largest difference that chance explains at 95%; None where nothing is known of it."""
    from scipy import stats

    parts = []
    counts = ours.replicates, theirs.replicates
    if max(counts) > 1:
        spreads = [s.std if s.replicates > 1 else None for s in (ours, theirs)]
        known = [s for s in spreads if s is not None]
        variances = [(known[0] if s is None else s) ** 2 for s in spreads]
        error = math.sqrt(sum(v / n for v, n in zip(variances, counts, strict=True)))
        parts.append(error * float(stats.t.ppf(0.975, sum(counts) - 2)))
    if metric == "accuracy" and rows:
        doubt = sum(s.mean * (1 - s.mean) for s in (ours, theirs))
        parts.append(float(stats.norm.ppf(0.975)) * math.sqrt(max(doubt, 0.0) / rows))
    return math.hypot(*parts) if parts else None


def _shown(score: Score) -> str:
    if score.replicates == 1:
        return f"{score.mean:.4f}"
    return f"{score.mean:.4f} ± {score.std:.4f}"


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


def _own_score(history: Mapping[str, Any], metric: str) -> tuple[str, Score | None]:
    """The chosen network's score, fine-tuning included where it was kept."""
    if history["test"] and metric in history["test"]:
        return "test", score_of(history["test"][metric])
    tuned = history["fine_tune"]
    if tuned and tuned["kept"]:
        return "validation", score_of(tuned["validation_after"].get(metric))
    split = history["monitor"].partition(".")[0]
    return split, score_of(history["stages"][history["selected_depth"] - 1][split].get(metric))
