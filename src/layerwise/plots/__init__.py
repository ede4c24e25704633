"""Pictures from plain data: SVG text for files and pages, matplotlib axes for people.

`_axes` is what all share, `_curves` scores by depth, epoch and labels, `_points` rows in the plane,
`_filters` weights as images, `_inside` what diagnostics and comparisons found. The only room that
imports matplotlib.
"""

from __future__ import annotations

from layerwise.plots._axes import to_svg as to_svg
from layerwise.plots._curves import depth_curve as depth_curve
from layerwise.plots._curves import depth_curves as depth_curves
from layerwise.plots._curves import label_curve as label_curve
from layerwise.plots._curves import learning_curves as learning_curves
from layerwise.plots._filters import filters as filters
from layerwise.plots._inside import comparison as comparison
from layerwise.plots._inside import confusion as confusion
from layerwise.plots._inside import gallery as gallery
from layerwise.plots._inside import gradient_curves as gradient_curves
from layerwise.plots._inside import reliability as reliability
from layerwise.plots._points import embedding as embedding
from layerwise.plots._points import scatter as scatter
