"""What the command line does not let Keras import."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

_NAMES = ("matplotlib", "pandas")


class Spared(MetaPathFinder):
    """Says of matplotlib and pandas that they are not installed, while Keras is being imported.

    Keras asks for them on behalf of pictures and data frames that the command line has no part in,
    and does without where they are missing. That is more than a quarter of the time of its import.
    Before and after they can be imported as ever.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Nothing, or `ModuleNotFoundError`."""
        keras = sys.modules.get("keras")
        # Its version is the last thing that its package gets.
        if name in _NAMES and keras is not None and not hasattr(keras, "__version__"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
