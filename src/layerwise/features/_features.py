"""The features of one growing network."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
from numpy.typing import NDArray

from layerwise._typing import Array, Shape
from layerwise.datasets import Split
from layerwise.features._coding import Coding
from layerwise.features._memory import Memory
from layerwise.features._passing import passing
from layerwise.features._shelf import Passed, Shelf, passed_with
from layerwise.features._store import Store
from layerwise.memory import forget_pages

_CHUNK_BYTES = 32 << 20
"""About how much of input and output together passes through a block at a time."""
_LEAST_BYTES, _PART = 1 << 20, 16
"""Of several processes: no more at a time than one part of so many of what passes, or the first."""


class Features:
    """The features of one growing network.

    Args:
        splits: the data that the first stage sees, by name; each becomes its own features.
        store: where later features go; RAM by default.
        origin: the fingerprint of the data; where it is missing, nothing is ever found again.
    """

    def __init__(
        self, splits: Mapping[str, Split], store: Store | None = None, origin: str = ""
    ) -> None:
        self._splits = dict(splits)
        # The longest split is part of the key: with the shapes it decides how many rows pass at a
        # time, and other numbers of rows may give other last bits.
        self._longest = max((split.here for split in self._splits.values()), default=0)
        self._shelf = Shelf(store or Memory(), origin, self._splits, _CHUNK_BYTES, self._longest)
        self._passed: Passed = ()
        self._keys: dict[str, str] = {}
        self.finite = True
        """Whether every feature is a finite number. Raw data are, or were refused before."""
        self.coding: Coding | None = None
        """How the features are stored; None as the block gives them."""

    @property
    def depth(self) -> int:
        """How many blocks these features have passed."""
        return len(self._passed)

    @property
    def parts(self) -> list[NDArray[Any]]:
        """The arrays themselves, one a split."""
        return [split.x for split in self._splits.values()]

    def __getitem__(self, name: str) -> Split:
        return self._splits[name]

    def get(self, name: str) -> Split | None:
        """The features of a split, or None where there is no such split."""
        return self._splits.get(name)

    def advance(
        self,
        forward: Callable[[Array], Array],
        output_shape: Shape,
        block: str = "",
        *,
        dtype: str | None = None,
    ) -> None:
        """Pass every split through the newest block, in inference mode, and forget what was.

        What the store has already is not computed again. An interruption leaves these features as
        they were, and in the store the splits that were done.

        Args:
            forward: from `(n_rows, ...)` to `(n_rows, *output_shape)`, always called with the
                same number of rows.
            output_shape: the shape of one sample's features; None where it is not fixed.
            block: SHA-256 in hex over all that decides the block's output: its configuration and
                its weights.
            dtype: what to store, such as `"float16"`, or `"uint8"` for 255 steps of what the
                training rows span; as the block gives it by default.
        """
        chunk = self._chunk_rows(output_shape)
        passed = passed_with(self._passed, [block], dtype)
        keys, outputs = self._shelf.keys(passed), {}
        coding = self._coding(keys, forward, chunk, dtype)
        for name, split in self._splits.items():
            found = self._shelf.find(keys[name], split.here, output_shape)
            if found is None:
                chunks = passing(split.x, forward, chunk, self.coding, coding)
                first = next(chunks)
                shape = (split.here, *first.shape[1:])
                every = itertools.chain([first], chunks)
                found = self._shelf.put(keys[name], shape, first.dtype, every)
                forget_pages(split.x)
                forget_pages(found)
            outputs[name] = found
        self._become(passed, keys, outputs, coding)

    def recall(self, blocks: Sequence[str], *, dtype: str | None = None) -> int:
        """Go on, without computing, to the deepest features that the store has of every split.

        Those of the blocks between are not needed, and as a rule no longer there.

        Args:
            blocks: digests of the blocks to be passed next, in order, as for `advance`.
            dtype: as for `advance`.

        Returns:
            How many of the blocks are passed now; 0 where nothing was found.
        """
        for n in range(len(blocks), 0, -1):
            passed = passed_with(self._passed, blocks[:n], dtype)
            keys = self._shelf.keys(passed)
            outputs = {
                name: found
                for name, split in self._splits.items()
                if (found := self._shelf.find(keys[name], split.here)) is not None
            }
            coding = self._shelf.coding(keys, dtype)
            if len(outputs) == len(self._splits) and (coding is None) == (dtype is None):
                self._become(passed, keys, outputs, coding)
                return n
        return 0

    def fork(self) -> Features:
        """The same features, to be passed on elsewhere: those here stay as they are."""
        other = copy.copy(self)
        # What is here is not dropped when the other goes on.
        other._keys = {}
        return other

    @staticmethod
    def least(splits: Mapping[str, Split]) -> int:
        """How many bytes pass through a block at a time; of these there is no less."""
        arrays = [a for s in splits.values() for a in keras.tree.flatten(s.x)]
        return min(_CHUNK_BYTES, 2 * max(array.nbytes for array in arrays))

    def close(self) -> None:
        """Remove from the store what these features have put there."""
        self._shelf.drop(self._keys)

    def forget(self, blocks: Sequence[str], *, dtype: str | None = None) -> None:
        """Remove the features after every one of these blocks from the store.

        Args:
            blocks: digests of all blocks from the first one on.
            dtype: as for `advance`.
        """
        for n in range(1, len(blocks) + 1):
            self._shelf.drop(self._shelf.keys(passed_with((), blocks[:n], dtype)))

    def _coding(
        self,
        keys: Mapping[str, str],
        forward: Callable[[Array], Array],
        chunk: int,
        dtype: str | None,
    ) -> Coding | None:
        """How to store what comes; what the training rows span takes a pass of its own."""
        found = self._shelf.coding(keys, dtype)
        if found is not None or dtype is None:
            return found
        rows = [s.x for name, s in self._splits.items() if name.partition("/")[0] == "train"]
        coding = Coding.learn(
            dtype,
            itertools.chain.from_iterable(
                passing(x, forward, chunk, self.coding, None) for x in rows
            ),
        )
        self._shelf.keep(keys, coding)
        return coding

    def _become(
        self,
        passed: Passed,
        keys: dict[str, str],
        outputs: Mapping[str, NDArray[Any]],
        coding: Coding | None,
    ) -> None:
        before, self._keys, self._passed = self._keys, keys, passed
        self._splits = {name: replace(self._splits[name], x=x) for name, x in outputs.items()}
        self.coding = coding
        self.finite = self._shelf.finite(keys[name] for name in outputs) and (
            coding is None or coding.finite
        )
        self._shelf.drop(before)

    def _chunk_rows(self, output_shape: Shape) -> int:
        row = next(iter(self._splits.values())).x[:1].nbytes + 4 * math.prod(
            n or 1 for n in output_shape
        )
        most = _CHUNK_BYTES
        if any(split.whole is not None for split in self._splits.values()):
            # Of a share no more than a part at a time: else what passes would outweigh the share.
            most = min(most, max(_LEAST_BYTES, self._longest * row // _PART))
        return max(1, min(self._longest, most // row))
