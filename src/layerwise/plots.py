"""Pictures from plain data: SVG text for files and pages, matplotlib axes for people."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"train": "#7a8699", "validation": "#0b6bcb", "test": "#c2570c"}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes given, or new ones that no window shows and no global list keeps."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").add_subplot()


def to_svg(draw: Callable[[Axes], Any], size: tuple[float, float] = (7.0, 3.8)) -> str:
    """Draw on new axes and return the SVG, without a date so that equal data give equal text."""
    import matplotlib

    ax = _axes(None, size)
    with matplotlib.rc_context({"svg.hashsalt": "layerwise", "font.size": 10}):
        draw(ax)
        text = io.StringIO()
        figure = ax.figure
        figure.savefig(text, format="svg", metadata={"Date": None})  # type: ignore[union-attr]
    whole = text.getvalue()
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
    ax.set_ylabel(name.replace("_", " "))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _clean(ax)
    return ax


def learning_curves(history: Mapping[str, Any], name: str, ax: Axes | None = None) -> Axes:
    """One metric over all epochs, stage after stage; a thin line parts the stages."""
    ax = _axes(ax, (7.0, 3.4))
    start = 0
    for i, stage in enumerate(history["stages"]):
        length = 0
        for key, split in ((name, "train"), (f"val_{name}", "validation")):
            values = [np.nan if v is None else v for v in stage["curves"].get(key, [])]
            length = max(length, len(values))
            label = split if i == 0 else None
            epochs = np.arange(start + 1, start + len(values) + 1)
            ax.plot(epochs, values, color=_COLOURS[split], lw=1.2, label=label)
        start += length
        if i + 1 < len(history["stages"]):
            ax.axvline(start + 0.5, color="#b9c1cc", lw=0.6)
    ax.set_xlabel("epoch, over all stages")
    ax.set_ylabel(name.replace("_", " "))
    _clean(ax)
    return ax


def scatter(
    splits: Mapping[str, tuple[Any, Any]], classes: Sequence[str], size: float = 3.2
) -> str:
    """The SVG of two-column data, one panel a split, one marker a class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * len(splits), size), layout="constrained")
    panels = figure.subplots(1, len(splits), sharex=True, sharey=True, squeeze=False)[0]
    for panel, (name, (x, y)) in zip(panels, splits.items(), strict=True):
        for label, text in enumerate(classes):
            rows = y == label
            marker = _MARKERS[label % len(_MARKERS)]
            panel.scatter(x[rows, 0], x[rows, 1], s=9, marker=marker, alpha=0.7, label=text)
        panel.set_title(f"{name} ({len(y)} rows)", fontsize=9)
        _clean(panel, legend=False)
    panels[-1].legend(frameon=False, fontsize=8, title="class")
    text_file = io.StringIO()
    figure.savefig(text_file, format="svg", metadata={"Date": None})
    whole = text_file.getvalue()
    return whole[whole.index("<svg") :]


def _clean(ax: Axes, legend: bool = True) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e3e7ec", lw=0.6)
    ax.set_axisbelow(True)
    if legend:
        ax.legend(frameon=False, fontsize=9)
