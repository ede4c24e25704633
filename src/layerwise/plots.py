"""Pictures from plain data: SVG text for files and pages, matplotlib axes for people."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.errors import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"train": "#7a8699", "validation": "#0b6bcb", "test": "#c2570c"}
_MOST_NAMED = 12
"""Classes that a legend names; a small picture has no room for more."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes given, or new ones that no window shows and no global list keeps."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").add_subplot()


def to_svg(draw: Callable[[Axes], Any], size: tuple[float, float] = (7.0, 3.8)) -> str:
    """Draw on new axes and return the SVG."""
    ax = _axes(None, size)
    draw(ax)
    return _svg_of(ax.figure)


def _svg_of(figure: Any) -> str:
    """The SVG of a figure: text stays text, and equal figures give equal files."""
    import matplotlib

    settings: Any = {"svg.hashsalt": "layerwise", "svg.fonttype": "none"}
    with warnings.catch_warnings(), matplotlib.rc_context(settings), io.StringIO() as file:
        # Text stays text in the file, so whoever shows it brings the letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", metadata={"Date": None})
        whole = file.getvalue()
    return whole[whole.index("<svg") :]


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

    ax = _axes(ax, (7.0, 3.8))
    name = history["monitor"].partition(".")[2]
    stages = history["stages"]
    depths = [stage["depth"] for stage in stages]
    for i, (split, colour) in enumerate(_COLOURS.items()):
        if not any(stage[split] for stage in stages):
            continue
        pairs = [_mean_and_spread((stage[split] or {}).get(name)) for stage in stages]
        mean, spread = np.array(pairs, dtype=float).T
        style = "--" if split == "train" else "-"
        ax.plot(depths, mean, style, marker=_MARKERS[i], color=colour, label=split, markersize=4)
        if spread.any():
            ax.fill_between(depths, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    chosen = history["selected_depth"]
    if chosen is not None:
        ax.axvline(chosen, color="#2a9d4a", lw=1.2, ls=":", label=f"chosen depth {chosen}")
    ax.set_xlabel("depth (blocks)")
    ax.set_ylabel(visible(name.replace("_", " ")), parse_math=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _clean(ax)
    return ax


def learning_curves(history: Mapping[str, Any], name: str, ax: Axes | None = None) -> Axes:
    """One metric over all epochs, stage after stage; a thin line parts the stages."""
    ax = _axes(ax, (7.0, 3.4))
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
            ax.plot(x, y, color=_COLOURS[split], lw=1.2, label=split)
    bounds = ax.get_ylim()
    ax.vlines(starts[1:-1] + 0.5, *bounds, color="#b9c1cc", lw=0.5)
    ax.set_ylim(bounds)
    ax.set_xlabel("epoch, over all stages")
    ax.set_ylabel(visible(name.replace("_", " ")), parse_math=False)
    _clean(ax)
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
    ax = _axes(ax, (7.0, 3.8))
    for (name, scores), colour, mark in zip(
        curves.items(), (_COLOURS["validation"], _COLOURS["test"]), _MARKERS, strict=False
    ):
        means = [float(np.mean(seeds)) for seeds in scores]
        spreads = [float(np.std(seeds, ddof=1)) if len(seeds) > 1 else 0.0 for seeds in scores]
        ax.errorbar(counts, means, spreads, label=name, color=colour, marker=mark, capsize=4)
    ax.set_xscale("log")
    ax.set_xticks(list(counts), [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set_xlabel("labels")
    ax.set_ylabel(f"test {metric.replace('_', ' ')}")
    _clean(ax)
    return ax


def scatter(
    splits: Mapping[str, tuple[Any, Any]], classes: Sequence[str], size: float = 3.2
) -> str:
    """The SVG of two-column data, one panel a split, one marker a class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * len(splits), size), layout="constrained")
    panels = figure.subplots(1, len(splits), sharex=True, sharey=True, squeeze=False)[0]
    handles = []
    for panel, (name, (x, y)) in zip(panels, splits.items(), strict=True):
        handles = [
            panel.scatter(*x[y == i].T, s=9, marker=_MARKERS[i % len(_MARKERS)], alpha=0.7)
            for i in range(len(classes))
        ]
        panel.set_title(f"{name} ({len(y)} rows)", fontsize=9)
        _clean(panel, legend=False)
    # A legend takes a label with a leading underscore for none, and a dollar for mathematics.
    names = [f" {_short(visible(label))}" for label in classes[:_MOST_NAMED]]
    if len(classes) > _MOST_NAMED:
        names[-1] = f" and {len(classes) - _MOST_NAMED + 1} more"
    legend = panels[-1].legend(handles[: len(names)], names, title="class")
    legend.set_frame_on(False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return _svg_of(figure)


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _clean(ax: Axes, legend: bool = True) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e3e7ec", lw=0.6)
    ax.set_axisbelow(True)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9)
