"""The report of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2

from layerwise import plots
from layerwise.history import score_of
from layerwise.report._comparison import Row, comparison_rows
from layerwise.report._format import format_bytes, format_count, format_metric, format_seconds
from layerwise.report._svg import on_page
from layerwise.report._verdict import Verdict, compared_metric, verdict

_PER_DEPTH = {
    "probe": "linear probe",
    "reconstruction": "input given back",
    "similarity": "CKA to below",
    "rank": "effective rank",
    "dead": "dead units",
}

_SHOWN = {"columns": 200, "warnings": 50}
"""Of a table, so many on the page."""


def render(
    history: Mapping[str, Any],
    facts: Mapping[str, Any],
    explanation: str,
    depth_svg: str,
    pictures: Mapping[str, str],
) -> str:
    """The page as HTML. Every text from the user is escaped; only our own SVG is not.

    Args:
        history: as in `history.json`; of a run that goes on its `stop_reason` is null.
        facts: as in `run.json`.
        explanation: why this depth.
        depth_svg: the depth curve.
        pictures: more pictures, title to SVG.
    """
    monitored = history["monitor"].partition(".")[2]
    shown = list(dict.fromkeys([monitored, "loss"]))
    compared = compared_metric(history)
    rows = comparison_rows(history)
    diagnostics = history.get("diagnostics") or {}
    return environment().get_template("page.html.j2").render(
        history=history,
        facts=facts,
        explanation=explanation,
        verdict=_verdict(history),
        monitored=monitored,
        shown=shown,
        compared=compared,
        rows=rows,
        comparison_svg=_comparison(rows, compared),
        depth_svg=on_page(depth_svg, "depth"),
        curves={name: on_page(_curves(history, name), f"c{i}") for i, name in enumerate(shown)},
        per_depth={key: title for key, title in _PER_DEPTH.items() if key in diagnostics},
        diagnostics=diagnostics,
        drawn=_drawn(diagnostics),
        found=_found(facts.get("findings")),
        spent=_kinds_of_seconds(history),
        pictures={title: on_page(svg, f"p{i}") for i, (title, svg) in enumerate(pictures.items())},
    )  # fmt: skip


def environment() -> jinja2.Environment:
    """Where templates are found, and what they may call."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("layerwise.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "metric": format_metric,
        "seconds": format_seconds,
        "count": format_count,
        "bytes": format_bytes,
        "words": lambda text: str(text).replace("_", " "),
        "operations": lambda ledger: (ledger or {}).get("operations"),
        "rate": _rate,
        "share": _share,
    }
    made.filters |= filters
    return made


def _verdict(history: Mapping[str, Any]) -> Verdict:
    if history["stop_reason"] is None:
        count = len(history["stages"])
        stages = f"{count} stage{'s' if count != 1 else ''} so far"
        return Verdict("unknown", f"The run goes on: {stages}. Reload this page to see more.")
    return verdict(history)


def _rate(ledger: Mapping[str, Any] | None) -> float | None:
    """Operations a second of what trains and caches and scores, compiling apart."""
    if not ledger or ledger.get("operations") is None:
        return None
    spent = sum(ledger["seconds"].values()) - ledger["seconds"].get("compiling", 0.0)
    return ledger["operations"] / spent if spent > 0 else None


def _share(ledger: Mapping[str, Any] | None) -> str:
    """The rate beside that of the machine's own matrix products, in percent."""
    rate, reached = _rate(ledger), (ledger or {}).get("matrix_rate")
    return "" if rate is None or not reached else f"{100 * rate / reached:.0f}%"


def _kinds_of_seconds(history: Mapping[str, Any]) -> list[str]:
    """What the stages spent their time on; empty where no ledger was kept."""
    known = ("compiling", "training", "caching", "scoring")
    found = {
        name
        for stage in history["stages"]
        for name in (stage.get("ledger") or {}).get("seconds", {})
    }
    return [name for name in known if name in found]


def _comparison(rows: Sequence[Row], metric: str) -> str | None:
    """The networks' scores on test, or on validation where there is no test."""
    split = "test" if any(row.test for row in rows) else "validation"
    scores = []
    for row in rows:
        score = score_of(getattr(row, split).get(metric))
        if score is not None:
            scores.append((row.name, score.mean, score.std, row.chosen))
    if len(scores) < 2:
        return None
    label = f"{split} {metric.replace('_', ' ')}"
    return on_page(plots.to_svg(plots.comparison(scores, label)), "cmp")


def _drawn(diagnostics: Mapping[str, Any]) -> dict[str, str]:
    """Pictures of those diagnostics that are best seen."""
    found = {}
    if "calibration" in diagnostics:
        found["calibration"] = plots.reliability(diagnostics["calibration"]["bins"])
    if "matrix" in diagnostics.get("confusion", {}):
        told = diagnostics["confusion"]
        found["confusion"] = plots.confusion(told["matrix"], told["classes"])
    if "gradients" in diagnostics:
        found["gradients"] = plots.gradient_curves(diagnostics["gradients"]["curves"])
    return {name: on_page(plots.to_svg(ax), name) for name, ax in found.items()}


def _found(findings: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a table's columns hold: as many as can be looked at, and how many there are beside."""
    if findings is None:
        return None
    shown = dict(findings)
    for name, most in _SHOWN.items():
        hidden = len(findings[name]) - most
        shown[name] = findings[name][:most]
        shown[f"more_{name}"] = findings[f"more_{name}"] + max(0, hidden)
    return shown


def _curves(history: Mapping[str, Any], name: str) -> str:
    return plots.to_svg(plots.learning_curves(history, name))
