"""What the user gave as `block`, as one thing: a maker of the block for a depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import keras

from layerwise._random import seeded
from layerwise._typing import Shape
from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.growth._build import attach, copy_layer


@dataclass
class Blocks:
    """Makes the block for each depth.

    Args:
        make: from a depth, counted from 1, to an unbuilt layer.
        count: how many blocks there are; None for as many as asked.
        head: a template for the layers on top, where the user's network came with them.
    """

    make: Callable[[int], Any]
    count: int | None = None
    head: keras.Layer | None = None
    _made: dict[int, ref[keras.Layer]] = field(default_factory=dict)
    """By identity: a layer need not have a hash, and nothing is kept alive."""

    def __call__(self, depth: int, seed: int) -> keras.Layer:
        """A fresh block, its initializers and Dropout layers seeded by `seed`.

        Raises:
            InputTypeError: the user's callable returned no layer.
            InputError: it returned a layer that it had returned before.
        """
        with seeded(seed):
            block = self.make(depth)
        if not isinstance(block, keras.Layer):
            raise InputTypeError(
                f"`block` must return a Keras layer for each depth. Received for depth {depth}: "
                f"{block!r}."
            )
        earlier = self._made.get(id(block))
        if earlier is not None and earlier() is block:
            raise InputError(
                f"`block` returned the same layer object again for depth {depth}. "
                "Create a new layer in every call."
            )
        self._made[id(block)] = ref(block)
        return block


def blocks_from(block: Any, shape: Shape, dtype: str) -> Blocks:
    """Read the `block` argument: a callable of depth, a list of layers, or a keras.Sequential.

    Args:
        block: what the user gave.
        shape: the shape of one sample of the data.
        dtype: its type.

    Raises:
        InputTypeError: it is none of these.
        InputError: the list or the Sequential has nothing to train.
    """
    if isinstance(block, keras.Sequential):
        return _from_sequential(block, shape, dtype)
    if isinstance(block, type):
        raise InputTypeError(
            f"`block` is the class {block.__name__}. Pass a callable of depth, such as "
            "`lambda depth: keras.layers.Dense(256)`, or a list of layers."
        )
    if isinstance(block, keras.Layer):
        raise InputTypeError(
            f"`block` is the single layer {block.name}. Pass a callable of depth, such as "
            "`lambda depth: keras.layers.Dense(256)`, or a list of layers."
        )
    if isinstance(block, Sequence) and not isinstance(block, str):
        for item in block:
            if not isinstance(item, keras.Layer):
                raise InputTypeError(complaint("block", "be a list of Keras layers", item))
        return _from_layers([[layer] for layer in block], None)
    if callable(block):
        return Blocks(make=block)
    raise InputTypeError(
        complaint("block", "be a callable of depth, a list of layers or a Sequential", block)
    )


def _from_layers(groups: list[list[keras.Layer]], head: keras.Layer | None) -> Blocks:
    if not groups:
        raise InputError("`block` is empty. Pass at least one layer.")

    def make(depth: int) -> keras.Layer:
        layers = [copy_layer(layer) for layer in groups[depth - 1]]
        return layers[0] if len(layers) == 1 else keras.Sequential(layers)

    return Blocks(make=make, count=len(groups), head=head)


_RESHAPING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute)


def _kernels(layers: list[keras.Layer], shape: Shape, dtype: str) -> list[bool]:
    """Which layers mix features: those that, once built, can train a matrix or a larger array."""
    found = []
    for layer in layers:
        probe = copy_layer(layer, seed=0)
        shape = attach(probe, shape, dtype, "A layer of `block`")
        dtype = probe.compute_dtype
        found.append(any(len(variable.shape) > 1 for variable in probe.trainable_variables))
    return found


def _from_sequential(network: keras.Sequential, shape: Shape, dtype: str) -> Blocks:
    """One block for each layer with a kernel; the last one is the template of the head.

    Normalization, activation, dropout and pooling belong to the block before them; reshaping, and
    whatever stands before the first kernel, to the block after.
    """
    groups: list[list[keras.Layer]] = []
    waiting: list[keras.Layer] = []
    for layer, kernel in zip(network.layers, _kernels(network.layers, shape, dtype), strict=True):
        if kernel:
            groups.append([*waiting, layer])
            waiting = []
        elif not groups or waiting or isinstance(layer, _RESHAPING):
            waiting.append(layer)
        else:
            groups[-1].append(layer)
    if len(groups) < 2:
        raise InputError(
            "`block` is a keras.Sequential with fewer than two layers that have a kernel: it needs "
            f"one block or more and a head. Received: {[layer.name for layer in network.layers]}."
        )
    head = [*groups.pop(), *waiting]
    template = head[0] if len(head) == 1 else keras.Sequential(head)
    return _from_layers(groups, template)
