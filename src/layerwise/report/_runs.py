"""Several runs side by side, and whether they may be compared at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerwise import plots
from layerwise.history import Metric, score_of
from layerwise.report._page import environment
from layerwise.report._svg import on_page


@dataclass(frozen=True)
class RunRow:
    """One run as a line of the comparison."""

    name: str
    what: str
    """The recipe, or the name of the data."""
    depth: int | None
    stages: int
    metric: str
    validation: Metric
    test: Metric
    seconds: float
    operations: float | None
    finished: bool


@dataclass(frozen=True)
class RunComparison:
    """Lines, one a run, and what speaks against comparing them."""

    rows: list[RunRow]
    warnings: list[str]


Run = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""Name, `run.json`, `history.json`."""


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Put runs side by side, and say where that is not fair.

    Args:
        runs: name, facts and history of each; the first is what others are held against.
    """
    warnings = []
    first_name, first, _ = runs[0]
    for name, facts, history in runs[1:]:
        warnings += [f"{name} and {first_name}: {said}" for said in _differences(first, facts)]
        if history["monitor"] != runs[0][2]["monitor"]:
            warnings.append(
                f"{name} and {first_name}: their depth was chosen by another metric, "
                f"{history['monitor']} and {runs[0][2]['monitor']}."
            )
    for name, _, history in runs:
        if not _finished(history):
            warnings.append(f"{name} is not finished: {_stages(history)} so far.")
    return RunComparison([_row(*run) for run in runs], warnings)


def _differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """Why scores of these two runs are not scores of the same thing."""
    a, b = one["data"], two["data"]
    if a["fingerprint"] == b["fingerprint"]:
        return []
    alike = all(a.get(key) == b.get(key) for key in ("name", "shape", "kind", "classes"))
    if not alike:
        return ["not comparable, they are of other data."]
    if sum(a["rows"].values()) != sum(b["rows"].values()):
        return [f"not comparable, they saw other rows of {a['name']}."]
    return [
        f"comparable only in part: {a['name']} was split in another way, or its rows have changed."
    ]


def _stages(history: Mapping[str, Any]) -> str:
    count = len(history["stages"])
    return f"{count} stage{'s' if count != 1 else ''}"


def _finished(history: Mapping[str, Any]) -> bool:
    return history["stop_reason"] not in (None, "interrupted")


def _row(name: str, facts: Mapping[str, Any], history: Mapping[str, Any]) -> RunRow:
    split, _, metric = history["monitor"].partition(".")
    depth, tuned = history["selected_depth"], history["fine_tune"]
    own: Mapping[str, Metric] = {}
    if depth is not None:
        kept = tuned and tuned["kept"] and split == "validation"
        own = tuned["validation_after"] if kept else history["stages"][depth - 1][split]
    spent = [*history["stages"], *([tuned] if tuned else [])]
    operations = [(one.get("ledger") or {}).get("operations") for one in spent]
    return RunRow(
        name=name,
        what=str(facts.get("recipe") or facts["data"]["name"]),
        depth=depth,
        stages=len(history["stages"]),
        metric=metric,
        validation=(own or {}).get(metric),
        test=(history["test"] or {}).get(metric),
        seconds=sum(one["seconds"] for one in spent),
        operations=None if None in operations else float(sum(filter(None, operations))),
        finished=_finished(history),
    )


def compare_page(runs: Sequence[Run]) -> str:
    """The comparison as an offline page."""
    found = compare_runs(runs)
    curves = {
        name: [_score(stage, history["monitor"]) for stage in history["stages"]]
        for name, _, history in runs
    }
    metric = found.rows[0].metric.replace("_", " ")
    svg = plots.to_svg(plots.depth_curves(curves, metric))
    template = environment().get_template("runs.html.j2")
    return template.render(found=found, svg=on_page(svg, "depths"))


def _score(stage: Mapping[str, Any], monitor: str) -> tuple[float, float] | None:
    split, _, metric = monitor.partition(".")
    score = score_of((stage[split] or {}).get(metric))
    return None if score is None else (score.mean, score.std)
