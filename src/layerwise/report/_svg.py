"""Pictures as parts of a page: no id twice, and colours that follow light and dark."""

from __future__ import annotations

import re

_COLOURS = {
    "#000000": "currentColor",
    "#e3e7ec": "var(--line)",
    "#b9c1cc": "var(--line)",
    "#7a8699": "var(--soft)",
    "#0b6bcb": "var(--blue)",
    "#c2570c": "var(--orange)",
    "#2a9d4a": "var(--green)",
    "#8250b4": "var(--violet)",
}


def on_page(svg: str, prefix: str) -> str:
    """The same picture with ids that no other has, and the page's own colours and background.

    Args:
        svg: as `plots` makes it.
        prefix: of its ids.
    """
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace("fill: #ffffff", "fill: none")
    # Where a colour stands for itself, as in the pixels of an image, it is no word of a style.
    pattern = "|".join(_COLOURS)
    return re.sub(rf"(?<=: )({pattern})\b", lambda found: _COLOURS[found.group()], svg)
