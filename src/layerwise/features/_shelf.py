"""Where in a store the features of one data set stand: a key over all that they depend on."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

import layerwise
from layerwise._typing import Shape
from layerwise.features._coding import Coding
from layerwise.features._store import Store

_FORMAT = 3
"""To be raised when features are computed in another way, so that none from before is found."""
_SPAN = "span"
"""The name under which the store keeps what codes stand for; no split is called so."""


class Passed(NamedTuple):
    """The blocks that features have passed, told in the same few bytes at any depth."""

    depth: int = 0
    """How many there are."""
    digest: str | None = ""
    """SHA-256 over the digest of each, and what features were stored as after it; None where one
    of them cannot be told from others."""

    def then(self, block: str, dtype: str | None) -> Passed:
        """One more block, by its digest, and what features are stored as after it."""
        if self.digest is None or not block:
            return Passed(self.depth + 1, None)
        told = json.dumps([self.digest, block, dtype or ""])
        return Passed(self.depth + 1, hashlib.sha256(told.encode()).hexdigest())

    def after_each(self, blocks: Iterable[str], dtype: str | None) -> list[Passed]:
        """What is passed after the first of these blocks more, after the second, and so on."""
        every = itertools.accumulate(
            blocks, lambda one, block: one.then(block, dtype), initial=self
        )
        return list(every)[1:]


class Shelf:
    """A store as one data set uses it.

    Args:
        store: what keeps arrays by key.
        origin: the fingerprint of the data. Where it is missing, or the digest of a block is,
            nothing is ever found again: what is not told apart cannot be trusted.
        names: of the splits.
        facts: what else decides the last bits of features.
    """

    def __init__(self, store: Store, origin: str, names: Iterable[str], *facts: int) -> None:
        self._store, self._origin, self._facts = store, origin, facts
        self._names = (*names, _SPAN)

    def keys(self, passed: Passed) -> dict[str, str]:
        """For each split SHA-256 over what its features depend on, or a key nobody asks for."""
        if not self._origin or passed.digest is None:
            return {name: secrets.token_hex(32) for name in self._names}
        facts = [_FORMAT, *self._facts, self._origin, passed.digest, _versions()]
        return {
            name: hashlib.sha256(json.dumps([name, *facts]).encode()).hexdigest()
            for name in self._names
        }

    def find(self, key: str, rows: int, output_shape: Shape | None = None) -> NDArray[Any] | None:
        """What the store has, if it can be what the block gives."""
        x = self._store.get(key)
        if x is None:
            return None
        sample = x.shape[1:] if output_shape is None else output_shape
        alike = len(sample) == x.ndim - 1 and all(
            expected in (None, n) for expected, n in zip(sample, x.shape[1:], strict=True)
        )
        if alike and len(x) == rows:
            return x
        self._store.drop(key)
        return None

    def put(
        self, key: str, shape: tuple[int, ...], dtype: Any, chunks: Iterable[NDArray[Any]]
    ) -> NDArray[Any]:
        """Keep an array that comes in chunks of rows, and return it as it is kept."""
        return self._store.put(key, shape, dtype, chunks)

    def finite(self, keys: Iterable[str]) -> bool:
        """Whether all numbers under these keys are finite."""
        return all(self._store.finite(key) for key in keys)

    def drop(self, keys: Mapping[str, str]) -> None:
        """Remove what stands under these keys."""
        for key in keys.values():
            self._store.drop(key)

    def coding(self, keys: Mapping[str, str], dtype: str | None) -> Coding | None:
        """A coding that needs nothing learned, or was learned before."""
        if dtype is None:
            return None
        if dtype != "uint8":
            return Coding(dtype)
        span = self._store.get(keys[_SPAN])
        return None if span is None else Coding(dtype, np.array(span))

    def keep(self, keys: Mapping[str, str], coding: Coding) -> None:
        """Keep what a coding has learned."""
        assert coding.span is not None
        self.put(keys[_SPAN], coding.span.shape, coding.span.dtype, [coding.span])


def _versions() -> list[str]:
    """What computes. Keras has imported its backend already, whichever it is."""
    backend = keras.backend.backend()
    computing = importlib.import_module(backend)
    return [layerwise.__version__, keras.__version__, backend, computing.__version__]
