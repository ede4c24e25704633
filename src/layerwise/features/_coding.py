"""Features in fewer bits than the block gives, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CACHE_DTYPES = ("float16", "bfloat16", "uint8")
"""What cached features may be stored as, other than what the block gives."""

_STEPS = 255


@dataclass(frozen=True)
class Coding:
    """How the features of one depth are stored.

    `uint8` divides what the training rows' features span, each unit or channel (the last axis) for
    itself, into 255 equal steps; other rows are cut off at its ends. All other types are casts.

    Attributes:
        dtype: what is stored.
        span: of `uint8`, the lowest value and the width of a step, `(2, n_units)` float32.
        pixels: whether these are no features but the bytes of images, of which 255 stands for 1.
    """

    dtype: str
    span: NDArray[np.float32] | None = None
    pixels: bool = False

    @classmethod
    def learn(cls, dtype: str, chunks: Iterable[NDArray[Any]]) -> Coding:
        """The coding of `uint8` from the features of the training rows, chunk by chunk."""
        low = high = None
        for chunk in chunks:
            rows = chunk.reshape(-1, chunk.shape[-1] if chunk.ndim > 1 else 1)
            ends = rows.min(axis=0).astype("float64"), rows.max(axis=0).astype("float64")
            low = ends[0] if low is None else np.minimum(low, ends[0])
            high = ends[1] if high is None else np.maximum(high, ends[1])
            del chunk, rows
        assert low is not None
        assert high is not None
        # A little less, so that no rounding leads above the highest value: it may be a chance of 1.
        steps = (high.astype("float32") - low.astype("float32").astype("float64")) / _STEPS
        with np.errstate(invalid="ignore"):
            return cls(dtype, np.stack([low, steps * (1 - 2.0**-22)]).astype("float32"))

    @property
    def finite(self) -> bool:
        """Whether every feature that this was learned from was a finite number."""
        return self.span is None or bool(np.isfinite(self.span).all())

    def encode(self, x: NDArray[Any]) -> NDArray[Any]:
        """Features as they are stored. A number too large for the type becomes infinite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.span is None:
                return x.astype(self.dtype, copy=False)
            low, step = self.span
            # A unit that says always the same has no step, and 0 / 0 is no number.
            codes = np.nan_to_num((x - low) / step, nan=0.0)
            return np.clip(np.rint(codes), 0, _STEPS).astype(np.uint8)

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Stored features as float32, or in the wider type that they have."""
        if self.pixels:
            return np.divide(codes, _STEPS, dtype=np.float32)
        values = codes if codes.dtype.itemsize >= 4 else codes.astype(np.float32)
        return values if self.span is None else values * self.span[1] + self.span[0]

    def extremes(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The lowest and the highest features that a sample of this shape can have, two rows."""
        ends = np.array([0, _STEPS], np.uint8).reshape(2, *[1] * len(shape))
        return self.decode(np.broadcast_to(ends, (2, *shape)))
