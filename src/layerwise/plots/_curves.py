"""Curves: scores by depth, by epoch, by number of labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.errors import visible
from layerwise.plots._axes import COLOURS, MARKERS, SERIES, axes_for, clean, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _mean_and_spread(metric: Any) -> tuple[float, float]:
    if isinstance(metric, Mapping):
        mean = metric["mean"]
        return (np.nan, 0.0) if mean is None else (mean, metric["std"])
    return (np.nan if metric is None else metric), 0.0


def depth_curve(history: Mapping[str, Any], ax: Axes | None = None) -> Axes:
    """The monitored metric by depth: train, validation and, where scored, test.

    Bands show one standard deviation over the replicates; a line marks the chosen depth.
    """
    from matplotlib.ticker import MaxNLocator

    ax = axes_for(ax, (7.0, 3.8))
    name = history["monitor"].partition(".")[2]
    stages = history["stages"]
    depths = [stage["depth"] for stage in stages]
    for i, (split, colour) in enumerate(COLOURS.items()):
        if not any(stage[split] for stage in stages):
            continue
        pairs = [_mean_and_spread((stage[split] or {}).get(name)) for stage in stages]
        mean, spread = np.array(pairs, dtype=float).T
        style = "--" if split == "train" else "-"
        ax.plot(depths, mean, style, marker=MARKERS[i], color=colour, label=split, markersize=4)
        if spread.any():
            ax.fill_between(depths, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    chosen = history["selected_depth"]
    if chosen is not None:
        ax.axvline(chosen, color="#2a9d4a", lw=1.2, ls=":", label=f"chosen depth {chosen}")
    ax.set_xlabel("depth (blocks)")
    ax.set_ylabel(visible(name.replace("_", " ")), parse_math=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    clean(ax)
    return ax


def learning_curves(history: Mapping[str, Any], name: str, ax: Axes | None = None) -> Axes:
    """One metric over all epochs, stage after stage; a thin line parts the stages."""
    ax = axes_for(ax, (7.0, 3.4))
    stages = history["stages"]
    lengths = [max(map(len, stage["curves"].values()), default=0) for stage in stages]
    starts = np.cumsum([0, *lengths])
    for key, split in ((name, "train"), (f"val_{name}", "validation")):
        # One line a split, with a gap between stages: a hundred stages stay a small file.
        x: list[float] = []
        y: list[float] = []
        for start, stage in zip(starts, stages, strict=False):
            values = stage["curves"].get(key, [])
            x += [*range(start + 1, start + len(values) + 1), np.nan]
            y += [*(np.nan if v is None else v for v in values), np.nan]
        if np.isfinite(y).any():
            ax.plot(x, y, color=COLOURS[split], lw=1.2, label=split)
    bounds = ax.get_ylim()
    ax.vlines(starts[1:-1] + 0.5, *bounds, color="#b9c1cc", lw=0.5)
    ax.set_ylim(bounds)
    ax.set_xlabel("epoch, over all stages")
    ax.set_ylabel(visible(name.replace("_", " ")), parse_math=False)
    clean(ax)
    return ax


def label_curve(
    counts: Sequence[int],
    curves: Mapping[str, Sequence[Sequence[float]]],
    metric: str,
    ax: Axes | None = None,
) -> Axes:
    """Scores by number of labels: the mean over the seeds of each curve, and its spread as bars.

    Args:
        counts: numbers of labels.
        curves: from a name to the scores of all seeds for each count.
        metric: what the scores are.
        ax: to draw on; default: new axes.
    """
    ax = axes_for(ax, (7.0, 3.8))
    for (name, scores), colour, mark in zip(
        curves.items(), (COLOURS["validation"], COLOURS["test"]), MARKERS, strict=False
    ):
        means = [float(np.mean(seeds)) for seeds in scores]
        spreads = [float(np.std(seeds, ddof=1)) if len(seeds) > 1 else 0.0 for seeds in scores]
        ax.errorbar(counts, means, spreads, label=name, color=colour, marker=mark, capsize=4)
    ax.set_xscale("log")
    ax.set_xticks(list(counts), [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set_xlabel("labels")
    ax.set_ylabel(f"test {metric.replace('_', ' ')}")
    clean(ax)
    return ax


def depth_curves(
    curves: Mapping[str, Sequence[tuple[float, float] | None]], metric: str, ax: Axes | None = None
) -> Axes:
    """One metric by depth of several runs: its mean, and its spread as a band.

    Args:
        curves: name to mean and spread of each depth from 1 up; None where there is none.
        metric: what they are.
        ax: to draw on; default: new axes.
    """
    from matplotlib.ticker import MaxNLocator

    ax = axes_for(ax, (7.0, 3.8))
    colours = itertools.cycle(SERIES)
    for (name, scores), colour, mark in zip(
        curves.items(), colours, itertools.cycle(MARKERS), strict=False
    ):
        pairs = [(np.nan, 0.0) if score is None else score for score in scores]
        mean, spread = np.array(pairs, dtype=float).reshape(-1, 2).T
        depths = np.arange(1, len(mean) + 1)
        (line,) = ax.plot(depths, mean, marker=mark, color=colour, markersize=4)
        # A legend takes a leading underscore for no label.
        line.set_label(f" {short(visible(name), 40)}")
        if spread.any():
            ax.fill_between(depths, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    ax.set_xlabel("depth (blocks)")
    ax.set_ylabel(visible(metric), parse_math=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    clean(ax)
    legend = ax.get_legend()
    for text in legend.get_texts() if legend else ():
        text.set_parse_math(False)
    return ax
