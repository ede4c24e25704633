"""What all pictures share: axes, their look, and SVG."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from layerwise.errors import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"train": "#7a8699", "validation": "#0b6bcb", "test": "#c2570c"}
SERIES = (COLOURS["validation"], COLOURS["test"], "#8250b4", "#2a9d4a")
"""Of several lines that are no splits."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_NAMED = 12
"""Classes that a legend names; a small picture has no room for more."""


def axes_for(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes given, or new ones that no window shows and no global list keeps."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").add_subplot()


def to_svg(ax: Axes) -> str:
    """The SVG of what was drawn on these axes."""
    return svg_of(ax.figure)


def svg_of(figure: Any) -> str:
    """The SVG of a figure: text stays text, and equal figures give equal files."""
    import matplotlib

    settings: Any = {"svg.hashsalt": "layerwise", "svg.fonttype": "none"}
    with warnings.catch_warnings(), matplotlib.rc_context(settings), io.StringIO() as file:
        # Text stays text in the file, so whoever shows it brings the letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", metadata={"Date": None})
        whole = file.getvalue()
    return whole[whole.index("<svg") :]


def clean(ax: Axes, legend: bool = True) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e3e7ec", lw=0.6)
    ax.set_axisbelow(True)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9)


def class_legend(ax: Axes, handles: list[Any], classes: list[str], **place: Any) -> None:
    """Name the classes as they are: a legend takes a leading underscore for no label, and a
    dollar for mathematics."""
    names = [f" {short(visible(label))}" for label in classes[:MOST_NAMED]]
    if len(classes) > MOST_NAMED:
        names[-1] = f" and {len(classes) - MOST_NAMED + 1} more"
    legend = ax.legend(handles[: len(names)], names, title="class", **place)
    legend.set_frame_on(False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def short(text: str, most: int = 24) -> str:
    """So much of a name as a picture has room for."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
