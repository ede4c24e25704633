"""Descriptions that mean harm are refused: nothing runs, nothing is opened, little is taken."""

from __future__ import annotations

import json
import os
import resource
import time
import tracemalloc
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hearing import listening
from hostile import HOSTILE, MARKER, NOT_JSON, chain, graph, thing

from layerwise.architecture import rebuild
from layerwise.errors import DamagedError, InputError

SECONDS = 5.0
MEGABYTES = 50


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Keras and the backend import and compile a few things when they are first used."""
    for base in (chain, graph):
        rebuild(*base())
        description, arrays = base()
        description["network"]["config"]["name"] = "net"
        description["inputs"][0]["dtype"] = "float16"
        with pytest.raises(DamagedError):
            rebuild(description, arrays)
    for name in ("the name of another layer", "units -3", "an unknown argument"):
        with pytest.raises(DamagedError):
            rebuild(*HOSTILE[name]())


def test_the_recorder_hears_what_it_should() -> None:
    with listening() as heard:
        Path(MARKER).write_text("")
        eval("1 + 1")
        os.system("true")
        Path("/etc/passwd").read_bytes()
    events = [event for event, _ in heard]
    assert {"open", "compile", "exec", "os.system"} <= set(events)
    assert events.count("open") == 2


def test_there_are_enough_cases() -> None:
    assert len(HOSTILE) >= 25
    assert set(HOSTILE) > NOT_JSON


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description_is_refused_and_does_nothing(name: str) -> None:
    description, arrays = HOSTILE[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with listening() as heard, pytest.raises(DamagedError) as caught:
            rebuild(description, arrays)
        seconds = time.perf_counter() - began
        traced = tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
    assert heard == []
    assert os.listdir() == []
    assert seconds < SECONDS
    assert traced < MEGABYTES
    # In kilobytes; what Keras' backend takes is not traced, but counts here.
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 2**10
    assert grown < MEGABYTES
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 700


def test_the_cases_that_are_json_stay_hostile_in_a_file() -> None:
    for name in set(HOSTILE) - NOT_JSON:
        description, arrays = HOSTILE[name]()
        with pytest.raises(DamagedError):
            rebuild(json.loads(json.dumps(description)), arrays)


def test_what_was_refused_takes_no_memory_later() -> None:
    """Keras keeps a list of variables that wait for their values, and fills them all at once."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in (f"{2**28} units", f"{2**28} embeddings"):
        with pytest.raises(DamagedError):
            rebuild(*HOSTILE[name]())
    with keras.StatelessScope():
        pass
    rebuild(*chain())
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 2**10 < MEGABYTES


SAYINGS = {
    "a circle of nodes": r"network\.config\.nodes: .* a circle",
    "os.system": r"layers\[1\]\.module: .* found 'os'",
    "an activation by dotted name": r"config\.activation: .* found 'os\.system'",
    "control characters in what keras refuses": r"Keras says: ValueError: The total size",
    "100000 networks in one another": r"network\.config\.layers\[1\].*\.\.\..*at most 32 objects",
    f"{2**28} units": rf"shape \(4, {2**28}\)",
    "padding that is cut off again": r"tensor of shape \(None, 2000000004, 1\)",
}


@pytest.mark.parametrize("name", SAYINGS)
def test_the_message_says_where_and_what(name: str) -> None:
    with pytest.raises(DamagedError, match=SAYINGS[name]):
        rebuild(*HOSTILE[name]())


def test_registered_classes_and_functions_are_never_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = []

    @keras.saving.register_keras_serializable(package="layerwise_test")
    class Registered(keras.layers.Layer):
        def __init__(self, **settings: Any) -> None:
            called.append(settings)
            super().__init__(**settings)

    def evil(x: Any) -> Any:
        called.append(x)
        return x

    words = {"relu": evil, "Dense": Registered, "GlorotUniform": evil, "Zeros": evil}
    for word, thing_of_ours in words.items():
        monkeypatch.setitem(keras.saving.get_custom_objects(), word, thing_of_ours)
    with keras.saving.custom_object_scope(words):
        for base in (chain, graph):
            model = rebuild(*base())
            model.predict(np.zeros((1, 4), "float32"), verbose=0)
        description, arrays = chain()
        layers = description["network"]["config"]["layers"]
        layers[1] = thing("tests", "Registered", {"name": "r"}, "layerwise_test>Registered")
        with pytest.raises(DamagedError, match=r"layers\[1\]\.module"):
            rebuild(description, arrays)
        for word in ("Registered", "layerwise_test>Registered", "relu", "os.system"):
            layers[1] = {
                "class_name": word,
                "own": True,
                "name": "first",
                "trainable": True,
                "config": {"name": "first"},
            }
            with pytest.raises(InputError, match="never looked up"):
                rebuild(description, arrays)
    assert called == []


ODD_NAMES = [
    "..",
    "a b",
    "\x1b[2Jx",
    "<script>",
    "名前",
    "a" * 1000,
    "__class__",
    "{}",
    "%s",
    "a\nb",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_are_data(name: str) -> None:
    """A name that Keras takes is kept as it is; TensorFlow takes fewer."""
    description, arrays = chain()
    description["network"]["config"]["layers"][1]["config"]["name"] = name
    with listening() as heard:
        try:
            model = rebuild(description, arrays)
        except DamagedError:
            assert keras.backend.backend() == "tensorflow"
        else:
            assert model.layers[0].name == name
    assert [event for event, _ in heard if event != "open"] == []
    assert os.listdir() == []
