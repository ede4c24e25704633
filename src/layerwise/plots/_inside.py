"""Pictures of what a network looks like inside, and of how it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import visible
from layerwise.plots._axes import COLOURS, MARKERS, SERIES, axes_for, clean, short, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def gradient_curves(curves: Mapping[str, Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Gradient norms by block, on a logarithmic scale: dashed at the start, solid after an epoch.

    Args:
        curves: name to `{"start": [...], "after": [...]}`, from the lowest block up.
        ax: to draw on; default: new axes.
    """
    from matplotlib.ticker import MaxNLocator

    ax = axes_for(ax, (7.0, 4.2))
    for (name, norms), colour, mark in zip(curves.items(), SERIES, MARKERS, strict=False):
        for when, style in (("start", "--"), ("after", "-")):
            # A norm of 0 has no place on this scale.
            values = [value or np.nan for value in norms[when]]
            label = f"{name}, {'at the start' if when == 'start' else 'after an epoch'}"
            depths = range(1, len(values) + 1)
            ax.plot(depths, values, style, marker=mark, markersize=4, color=colour, label=label)
    ax.set_yscale("log")
    ax.set_xlabel("block, from the input up")
    ax.set_ylabel("norm of the gradient")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    clean(ax, legend=False)
    # Beside the lines, as there may be eight of them.
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.18), ncols=2)
    return ax


def reliability(bins: Sequence[Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """How often a network is right, by how sure it is; dots are as large as their share of rows.

    Args:
        bins: each with `confidence`, `accuracy` and `share`.
        ax: to draw on; default: new axes.
    """
    ax = axes_for(ax, (4.2, 4.0))
    ax.plot([0, 1], [0, 1], ":", color=COLOURS["train"], lw=1, label="as sure as right")
    confidence, accuracy, share = (
        [one[name] for one in bins] for name in ("confidence", "accuracy", "share")
    )
    ax.plot(confidence, accuracy, color=COLOURS["validation"], lw=1)
    ax.scatter(confidence, accuracy, s=[15 + 200 * s for s in share], color=COLOURS["validation"])
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    clean(ax)
    return ax


def confusion(matrix: Any, classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """A confusion matrix: the shade is the share of its row, the number the rows of data.

    Args:
        matrix: `(n_classes, n_classes)`, true classes by predicted ones.
        classes: their names.
        ax: to draw on; default: new axes.
    """
    counts = np.asarray(matrix)
    side = min(1.6 + 0.42 * len(classes), 9.0)
    ax = axes_for(ax, (side, side))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    names = [short(visible(name), 18) for name in classes]
    ax.set_xticks(range(len(names)), names, rotation=90, parse_math=False, fontsize=8)
    ax.set_yticks(range(len(names)), names, parse_math=False, fontsize=8)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            ink = "#fefefe" if shares[row, column] > 0.5 else "#101010"
            ax.text(column, row, str(count), ha="center", va="center", color=ink, fontsize=7)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true class")
    return ax


def comparison(
    scores: Sequence[tuple[str, float, float, bool]], metric: str, ax: Axes | None = None
) -> Axes:
    """Scores of networks beside one another, each with its spread as a bar.

    Args:
        scores: name, mean, spread and whether it is the chosen network; the first on top.
        metric: what the scores are.
        ax: to draw on; default: new axes.
    """
    ax = axes_for(ax, (7.0, 0.8 + 0.34 * len(scores)))
    places = range(len(scores))[::-1]
    for place, (_, mean, spread, own) in zip(places, scores, strict=True):
        colour = "#2a9d4a" if own else COLOURS["validation"]
        ax.errorbar([mean], [place], xerr=[spread], fmt="o", color=colour, capsize=4)
    names = [short(visible(name), 32) for name, *_ in scores]
    ax.set_yticks(list(places), names, parse_math=False)
    ax.set_ylim(-0.6, len(scores) - 0.4)
    ax.set_xlabel(short(visible(metric), 60), parse_math=False)
    clean(ax, legend=False)
    return ax


def gallery(images: NDArray[Any], captions: Sequence[str], columns: int = 5) -> str | None:
    """The SVG of small images with a caption each; None where rows are no images.

    Args:
        images: `(n, height, width)` or `(n, height, width, 1 or 3)`; each is shown from its
            smallest value to its largest.
        captions: one an image.
        columns: of the gallery.
    """
    from matplotlib.figure import Figure

    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] != 3):
        return None
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, image, caption in zip(panels, images.astype(np.float64), captions, strict=False):
        low, high = image.min(), image.max()
        scaled = (image - low) / (high - low if high > low else 1.0)
        panel.imshow(scaled, cmap="gray", vmin=0.0, vmax=1.0)
        panel.set_title(short(visible(caption), 29), fontsize=7, parse_math=False)
    return svg_of(figure)
