"""The features of a trunk that grows, computed when somebody asks for rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import keras

from layerwise._typing import Array, Shape
from layerwise.datasets import Split
from layerwise.engine import Engine
from layerwise.features import Coding, Features, Store
from layerwise.growth import Decode, Frozen
from layerwise.training._meter import Meter
from layerwise.training._together import everywhere


def decoder(coding: Coding) -> Decode:
    """What turns features or pixels as they are stored into numbers, in a program."""
    return Decode(coding.span, coding.pixels)


class UnusableFeaturesError(Exception):
    """Features are not finite, so that no stage can train on them."""


class LazyFeatures:
    """Features that pass frozen blocks when somebody wants their rows, and says so by `catch_up`.

    A stage that is taken from its checkpoint needs their shape alone.

    Args:
        splits: the data that the first stage sees, by name.
        store: where features go; None for memory.
        origin: tells these data from others, for a store; empty where there is none.
        engine: what computes features.
        meter: told what caching costs.
        cache_dtype: what features are stored as; None as the blocks give them.

    Attributes:
        blocks: those that are passed, or will be by `catch_up`, from the lowest up.
        shape: of one sample after them.
        dtype: after them.
    """

    def __init__(
        self,
        splits: Mapping[str, Split],
        store: Store | None,
        origin: str,
        engine: Engine,
        meter: Meter,
        cache_dtype: str | None = None,
    ) -> None:
        self._features = Features(splits, store, origin)
        self._engine, self._meter, self._cache_dtype = engine, meter, cache_dtype
        self.blocks: list[Frozen] = []
        self._shapes: list[Shape] = []
        """After each of them."""
        some = next(iter(splits.values()))
        self.shape: Shape = some.shape
        self.dtype = some.dtype

    @property
    def coding(self) -> Coding | None:
        """How the features are stored; None as the newest block gives them."""
        return self._features.coding

    def __getitem__(self, name: str) -> Array:
        """The rows of a split as they are stored, after the blocks that `catch_up` has passed."""
        return self._features[name].stored

    def advance(self, blocks: Sequence[Frozen]) -> None:
        """See the output of these frozen blocks, from the lowest up, from now on.

        Those that were passed before are among them.
        """
        for block in blocks[len(self.blocks) :]:
            self.blocks.append(block)
            seen = keras.KerasTensor((None, *self.shape), dtype=self.dtype)
            output = block.layer.compute_output_spec(seen)
            self.shape, self.dtype = tuple(output.shape[1:]), str(output.dtype)
            self._shapes.append(self.shape)

    def fork(self) -> LazyFeatures:
        """The same features, to be passed on elsewhere: those here stay as they are."""
        other = copy.copy(self)
        other._features = self._features.fork()
        other.blocks, other._shapes = list(self.blocks), list(self._shapes)
        return other

    def catch_up(self) -> None:
        """Pass the blocks that are not passed yet.

        Raises:
            UnusableFeaturesError: what they give is not finite.
        """
        self._pass()
        if self.blocks:
            self._meter.holds(sum(part.nbytes for part in self._features.parts))
        if not everywhere(self._features.finite):
            depth = self._features.passed.depth
            raise UnusableFeaturesError(
                f"the features that the block of depth {depth} gives are not finite"
            )

    def _pass(self) -> None:
        done = self._features.passed.depth
        if len(self.blocks) > done:
            ahead = [block.identity for block in self.blocks[done:]]
            done += self._features.recall(ahead, dtype=self._cache_dtype)
        for block, shape in zip(self.blocks[done:], self._shapes[done:], strict=True):
            before = self._features.parts
            rows, one = sum(map(len, before)), before[0]
            dtype = str(one.dtype) if self.coding is None else "float32"
            with self._meter.spent_on("caching"):
                engine = self._engine
                forward = engine.forward(block.layer)
                decode = None if self.coding is None else engine.forward(decoder(self.coding))
                self._features.advance(
                    forward, shape, block.identity, dtype=self._cache_dtype, decode=decode
                )
            self._meter.passed(block, one.shape[1:], dtype, rows)
            del before, one

    def forget(self) -> None:
        """Remove what an earlier session may have cached on the way: the run is finished."""
        self._features.forget([block.identity for block in self.blocks], dtype=self._cache_dtype)

    def close(self) -> None:
        """Remove what is cached here."""
        self._features.close()
