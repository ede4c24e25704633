"""The features of one growing network."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from layerwise._typing import Array, Shape
from layerwise.datasets import Split
from layerwise.features import _chunks
from layerwise.features._chunks import rows_at_a_time
from layerwise.features._coding import Coding
from layerwise.features._memory import Memory
from layerwise.features._passing import passing
from layerwise.features._shelf import Passed, Shelf
from layerwise.features._store import Store
from layerwise.memory import forget_pages


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
        self._shelf = Shelf(
            store or Memory(), origin, self._splits, _chunks.CHUNK_BYTES, self._longest
        )
        self.passed = Passed()
        """The blocks that these features have passed."""
        self._keys: dict[str, str] = {}
        self.finite = True
        """Whether every feature is a finite number. Raw data are, or were refused before."""
        self.coding: Coding | None = None
        """How the features are stored; None as the block gives them, or the data are."""
        if any(split.pixels for split in self._splits.values()):
            self.coding = Coding("uint8", pixels=True)

    @property
    def parts(self) -> list[NDArray[Any]]:
        """The arrays themselves, one a split."""
        return [split.stored for split in self._splits.values()]

    def __getitem__(self, name: str) -> Split:
        return self._splits[name]

    def advance(
        self,
        forward: Callable[[Array], Array],
        output_shape: Shape,
        block: str = "",
        *,
        dtype: str | None = None,
        decode: Callable[[Array], Array] | None = None,
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
            decode: turns rows that are stored in another form into numbers, always so many as
                `forward` gets; NumPy does by default.
        """
        if decode is None and self.coding is not None:
            decode = self.coding.decode
        chunk = rows_at_a_time(self._splits, self._longest, output_shape)
        passed = self.passed.then(block, dtype)
        keys, outputs = self._shelf.keys(passed), {}
        coding = self._coding(keys, forward, chunk, dtype, decode)
        for name, split in self._splits.items():
            found = self._shelf.find(keys[name], split.here, output_shape)
            if found is None:
                chunks = passing(split.stored, forward, chunk, decode, coding)
                first = next(chunks)
                shape = (split.here, *first.shape[1:])
                every = itertools.chain([first], chunks)
                found = self._shelf.put(keys[name], shape, first.dtype, every)
                forget_pages(split.stored)
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
        before = self.passed.depth
        for passed in reversed(self.passed.after_each(blocks, dtype)):
            keys = self._shelf.keys(passed)
            outputs = {
                name: found
                for name, split in self._splits.items()
                if (found := self._shelf.find(keys[name], split.here)) is not None
            }
            coding = self._shelf.coding(keys, dtype)
            if len(outputs) == len(self._splits) and (coding is None) == (dtype is None):
                self._become(passed, keys, outputs, coding)
                return passed.depth - before
        return 0

    def fork(self) -> Features:
        """The same features, to be passed on elsewhere: those here stay as they are."""
        other = copy.copy(self)
        # What is here is not dropped when the other goes on.
        other._keys = {}
        return other

    def close(self) -> None:
        """Remove from the store what these features have put there."""
        self._shelf.drop(self._keys)

    def forget(self, blocks: Sequence[str], *, dtype: str | None = None) -> None:
        """Remove the features after every one of these blocks from the store.

        Args:
            blocks: digests of all blocks from the first one on.
            dtype: as for `advance`.
        """
        for passed in Passed().after_each(blocks, dtype):
            self._shelf.drop(self._shelf.keys(passed))

    def _coding(
        self,
        keys: Mapping[str, str],
        forward: Callable[[Array], Array],
        chunk: int,
        dtype: str | None,
        decode: Callable[[Array], Array] | None,
    ) -> Coding | None:
        """How to store what comes; what the training rows span takes a pass of its own."""
        found = self._shelf.coding(keys, dtype)
        if found is not None or dtype is None:
            return found
        rows = [s.stored for name, s in self._splits.items() if name.partition("/")[0] == "train"]
        coding = Coding.learn(
            dtype,
            itertools.chain.from_iterable(passing(x, forward, chunk, decode, None) for x in rows),
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
        before, self._keys, self.passed = self._keys, keys, passed
        self._splits = {
            name: replace(self._splits[name], stored=rows, pixels=False)
            for name, rows in outputs.items()
        }
        self.coding = coding
        self.finite = self._shelf.finite(keys[name] for name in outputs) and (
            coding is None or coding.finite
        )
        self._shelf.drop(before)
