"""What objectives refuse: wrong arguments where they are made, what does not fit in `train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise import objectives
from layerwise.errors import InputError, InputTypeError, LayerwiseError

WRONG = [
    ("RBM(k=1.5)", ["`k`"]),
    ("RBM(k='1')", ["`k`"]),
    ("Contrastive(projection=1.5)", ["`projection`"]),
    ("Contrastive(temperature='low')", ["`temperature`"]),
    ("Reconstruction(corruption='some')", ["`corruption`"]),
    ("InfoPro('all')", ["`classification`"]),
    ("PredSim('all')", ["`similarity`"]),
    ("Mixed({'rbm': None})", ["weight"]),
    ("Mixed({'rbm': ['a']})", ["weight"]),
]
"""Not even of the right type."""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("Reconstruction(corruption=1)", ["`corruption`", "[0, 1)"]),
        ("Reconstruction(corruption=-0.1)", ["`corruption`", "-0.1"]),
        ("Reconstruction(corruption=-1, noise='gaussian')", ["`corruption`", "0 or more"]),
        ("Contrastive(corruption=1.5)", ["`corruption`", "1.5"]),
        ("Redundancy(corruption=float('nan'))", ["`corruption`", "nan"]),
        ("Reconstruction(noise='pink')", ["`noise`", "salt_and_pepper", "'pink'"]),
        ("Reconstruction(of='labels')", ["`of`", "'labels'"]),
        ("Reconstruction(loss='nope')", ["Unknown loss", "nope"]),
        ("Reconstruction(of='inputs', tied=True)", ["tied decoder"]),
        ("Reconstruction(contractive=-1)", ["`contractive`", "-1"]),
        ("Reconstruction(sparsity=1, sparsity_target=1)", ["`sparsity_target`", "between 0 and 1"]),
        ("Supervised(metrics=['nope'])", ["Unknown loss or metric", "nope"]),
        ("RBM(0)", ["`k`", "at least 1", "0"]),
        ("RBM(persistent=True, chains=0)", ["`chains`", "0"]),
        ("RBM(visible='relu')", ["`visible`", "'relu'"]),
        ("Similarity(of='inputs')", ["`of`", "'inputs'"]),
        ("PredSim(1.1)", ["`similarity`", "1.1"]),
        ("Contrastive('rows')", ["`of`", "'rows'"]),
        ("Contrastive(temperature=0)", ["`temperature`", "above 0"]),
        ("Contrastive('patches', grid=1)", ["`grid`", "at least 2"]),
        ("Redundancy(projection=0)", ["`projection`", "0"]),
        ("Redundancy('byol')", ["`method`", "'byol'"]),
        ("Redundancy(weight=-1)", ["`weight`", "-1"]),
        ("InfoPro(reconstruction=-1)", ["`reconstruction`", "-1"]),
        ("InfoPro(0, 0)", ["one weight above 0"]),
        ("Mixed({'rbm': 0.5, 'supervised': 0.6})", ["sum to 1", "0.5, 0.6"]),
        ("Mixed({'rbm': 0.5, 'supervised': [0.5, 1]})", ["sum to 1", "epoch 1", "0.5, 1"]),
        ("Mixed({'rbm': -0.5, 'supervised': 1.5})", ["0 or more", "-0.5, 1.5"]),
        ("Mixed({})", ["at least one"]),
        ("Mixed({'rbn': 1.0})", ["Unknown objective", "'rbn'", "rbm"]),
        ("by_name('mixed')", ["Mixed({"]),
    ],
    ids=str,
)
def test_bad_values_are_refused(call: str, said: list[str]) -> None:
    with pytest.raises(LayerwiseError) as caught:
        eval(call, vars(objectives))
    _names(caught.value, InputError, said)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("Supervised(metrics='auc')", ["`metrics`", "be a list", "'auc'"]),
        ("Mixed({'rbm': 'half'})", ["weight", "'half'"]),
        ("Mixed({'rbm': []})", ["weight", "[]"]),
        ("Mixed(['rbm'])", ["`objectives`", "['rbm']"]),
        ("Mixed({3: 1.0})", ["head and loss", "3"]),
        ("by_name(RBM)", ["head and loss", "RBM"]),
        *WRONG,
    ],
    ids=str,
)
def test_wrong_types_are_refused(call: str, said: list[str]) -> None:
    with pytest.raises((LayerwiseError, TypeError, ValueError)) as caught:
        eval(call, vars(objectives))
    _names(caught.value, InputTypeError, said)


def _names(raised: Exception, error: type[LayerwiseError], said: list[str]) -> None:
    assert type(raised) is error
    assert "\n" not in str(raised)
    for fragment in said:
        assert fragment in str(raised)


UNIT = np.random.default_rng(0).random((40, 6)).astype("float32")
FEATURES = {
    "vectors": UNIT,
    "wide": 3 * UNIT - 1,
    "images": np.random.default_rng(0).random((40, 6, 6, 1)).astype("float32"),
}
BLOCKS: dict[str, Callable[[int], keras.Layer]] = {
    **{
        name: lambda depth, name=name: layers.Dense(4, activation=name)  # type: ignore[misc]
        for name in ("sigmoid", "relu", "gelu")
    },
    "convolution": lambda depth: layers.Conv2D(4, 3, padding="same", activation="sigmoid"),
}
LABELS = {"classes": np.arange(40) % 2, "values": UNIT[:, 0], "none": None}


@pytest.mark.parametrize(
    ("objective", "where", "said"),
    [
        ("RBM()", "wide", ["Bernoulli", "[0, 1]", "from -", "/ 255"]),
        ("Mixed({'rbm': 1})", "wide", ["Bernoulli", "[0, 1]"]),
        ("RBM()", "images convolution", ["RBM", "one Dense layer", "Conv2D"]),
        ("RBM()", "vectors relu", ["RBM", "activation sigmoid", "relu"]),
        ("Reconstruction(tied=True)", "images convolution", ["tied decoder", "Conv2D"]),
        ("Reconstruction(contractive=1)", "images convolution", ["contractive", "Conv2D"]),
        ("Reconstruction(contractive=1)", "vectors gelu", ["derivative", "gelu"]),
        ("Reconstruction(sparsity=1)", "vectors relu", ["sparsity", "sigmoid", "relu"]),
        ("Reconstruction(loss='binary_crossentropy')", "wide", ["cross-entropy", "[0, 1]"]),
        ("Similarity()", "vectors sigmoid values", ["Similarity", "values"]),
        ("PredSim()", "vectors sigmoid values", ["PredSim", "values"]),
        ("Contrastive('patches')", "vectors", ["needs images", "(6,)"]),
        ("Contrastive('patches')", "images convolution", ["grid=4", "(6, 6, 1)"]),
        ("'restricted'", "vectors", ["Unknown objective", "'restricted'", "rbm"]),
        ("'mixed'", "vectors", ["Mixed({"]),
        ("'supervised'", "vectors sigmoid none", ["needs labels"]),
        ("'similarity'", "vectors sigmoid none", ['"similarity" needs labels']),
        ("'predsim'", "vectors sigmoid none", ['"predsim" needs labels']),
        ("'infopro'", "vectors sigmoid none", ['"infopro" needs labels']),
        ("Mixed({'supervised': 1})", "vectors sigmoid none", ['"mixed" needs labels']),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, objective: str, where: str, said: list[str]
) -> None:
    """`where`: the features, the block, the labels; a sigmoid and classes if not told."""
    x, block, y = (where.split() + ["sigmoid", "classes"][len(where.split()) - 1 :])[:3]
    with pytest.raises(LayerwiseError) as caught:
        layerwise.train(
            FEATURES[x],
            LABELS[y],
            block=BLOCKS[block],
            objective=eval(objective, vars(objectives)),
            epochs=1,
            max_depth=1,
            run_dir=tmp_path / "run",
        )
    _names(caught.value, InputError, said)
    assert not list(tmp_path.iterdir())
