"""Rows as points in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerwise.plots._axes import COLOURS, MARKERS, axes_for, class_legend, clean, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
            panel.scatter(*x[y == i].T, s=9, marker=MARKERS[i % len(MARKERS)], alpha=0.7)
            for i in range(len(classes))
        ]
        panel.set_title(f"{name} ({len(y)} rows)", fontsize=9)
        clean(panel, legend=False)
    class_legend(panels[-1], handles, list(classes))
    return svg_of(figure)


def embedding(
    features: Any, y: Any = None, classes: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Rows at their first two principal components.

    Args:
        features: `(n_samples, ...)`; all axes but the first are flattened.
        y: `(n_samples,)`, the number of each row's class, or a value that colours it; None for one
            colour.
        classes: the labels, where `y` counts them.
        ax: to draw on; default: a new figure.

    Returns:
        The axes; each has the share of the variance that it shows in its label.
    """
    from sklearn.decomposition import PCA

    ax = axes_for(ax, (5.6, 4.6))
    rows = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    found = PCA(n_components=min(2, *rows.shape), svd_solver="full")
    # Features that never change have no variance to share.
    with np.errstate(invalid="ignore", divide="ignore"):
        points = found.fit_transform(rows)
    shares = np.nan_to_num(found.explained_variance_ratio_)
    missing = 2 - points.shape[1]
    points, shares = np.pad(points, ((0, 0), (0, missing))), np.pad(shares, (0, missing))
    _draw_points(ax, points, y, classes)
    told = [
        f"principal component {number} ({share:.0%} of the variance)"
        for number, share in enumerate(shares, 1)
    ]
    ax.set_xlabel(told[0])
    ax.set_ylabel(told[1])
    clean(ax, legend=False)
    return ax


def _draw_points(ax: Axes, points: Any, y: Any, classes: Sequence[str] | None) -> None:
    look: dict[str, Any] = {"s": 12, "alpha": 0.7}
    if y is not None and classes is not None:
        handles = []
        for i in range(len(classes)):
            look |= {"marker": MARKERS[i % len(MARKERS)], "color": f"C{i}"}
            handles.append(ax.scatter(points[y == i, 0], points[y == i, 1], **look))
        # Beside the points, which may be anywhere.
        class_legend(ax, handles, list(classes), loc="center left", bbox_to_anchor=(1.0, 0.5))
    elif y is not None and np.ndim(y) == 1:
        drawn = ax.scatter(points[:, 0], points[:, 1], c=y, **look)
        ax.figure.colorbar(drawn, ax=ax, label="y")
    else:
        ax.scatter(points[:, 0], points[:, 1], color=COLOURS["validation"], **look)
