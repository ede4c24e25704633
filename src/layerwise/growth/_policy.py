"""Which blocks a stage trains together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerwise.errors import InputError, complaint


@dataclass(frozen=True)
class Policy:
    """Which blocks a stage trains together.

    Args:
        window: how many of the newest blocks, at least 1.
        freeze: `"all"` below the window; `"none"`; or how many of the lowest blocks, once each of
            them has been trained.
    """

    window: int = 1
    freeze: Literal["all", "none"] | int = "all"

    def __post_init__(self) -> None:
        number = isinstance(self.freeze, int) and not isinstance(self.freeze, bool)
        if self.freeze not in ("all", "none") and not (number and int(self.freeze) >= 0):
            raise InputError(
                complaint("freeze", 'be "all", "none" or a number of blocks', self.freeze)
            )
        if self.window > 1 and self.freeze != "all":
            raise InputError(
                "`window` and `freeze` both say which blocks train: pass one of them. "
                f"Received window={self.window} and freeze={self.freeze!r}."
            )

    def check(self, max_depth: int) -> None:
        """Raise `InputError` where no stage could be so."""
        if self.window > max_depth:
            raise InputError(
                f"`window` trains {self.window} blocks together, and the network has at most "
                f"{max_depth}. Raise `max_depth` or lower `window`."
            )

    def lowest(self, depth: int) -> int:
        """The lowest block that the stage of this depth trains; both count from 1."""
        if self.freeze == "all":
            return max(1, depth - self.window + 1)
        return 1 if self.freeze == "none" else min(depth, int(self.freeze) + 1)
