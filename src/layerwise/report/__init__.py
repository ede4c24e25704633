"""One offline page from plain data: the verdict first, then the curves and the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2

from layerwise import plots
from layerwise.report._verdict import chance_explains as chance_explains
from layerwise.report._verdict import compared_metric as compared_metric
from layerwise.report._verdict import verdict as verdict


def render(
    history: Mapping[str, Any],
    facts: Mapping[str, Any],
    explanation: str,
    depth_svg: str,
    pictures: Mapping[str, str],
) -> str:
    """The page as HTML. Every text from the user is escaped; only our own SVG is not.

    Args:
        history: as in `history.json`.
        facts: as in `run.json`.
        explanation: why this depth.
        depth_svg: the depth curve.
        pictures: more pictures, title to SVG.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("layerwise.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["metric"] = format_metric
    monitored = history["monitor"].partition(".")[2]
    shown = list(dict.fromkeys([monitored, "loss"]))
    return environment.get_template("page.html.j2").render(
        history=history,
        facts=facts,
        explanation=explanation,
        verdict=verdict(history).sentence,
        monitored=monitored,
        shown=shown,
        compared=compared_metric(history),
        depth_svg=_own_ids(depth_svg, "depth"),
        curves={name: _own_ids(_curves(history, name), f"c{i}") for i, name in enumerate(shown)},
        pictures={title: _own_ids(svg, f"p{i}") for i, (title, svg) in enumerate(pictures.items())},
    )


def _own_ids(svg: str, prefix: str) -> str:
    """The same picture with ids that no other picture of the page has."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def format_metric(metric: Any) -> str:
    """A metric for reading: `0.9712`, `0.9712 ± 0.0031`, or a dash.

    >>> format_metric({"mean": 0.5, "std": 0.01, "values": [0.49, 0.51]})
    '0.5000 ± 0.0100'
    """
    if isinstance(metric, Mapping):
        if metric["mean"] is None:
            return "–"
        return f"{metric['mean']:.4f} ± {metric['std']:.4f}"
    return "–" if metric is None else f"{metric:.4f}"


def _curves(history: Mapping[str, Any], name: str) -> str:
    return plots.to_svg(lambda ax: plots.learning_curves(history, name, ax), (7.0, 3.2))
