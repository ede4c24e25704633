"""Pictures drawn by hand: what is drawn is what the numbers say."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

import layerwise
from layerwise import plots
from layerwise.errors import InputError
from layerwise.history import History

RNG = np.random.default_rng(0)


def axes() -> Any:
    return Figure().add_subplot()


def points_of(ax: Any) -> np.ndarray:
    return np.concatenate([np.asarray(part.get_offsets()) for part in ax.collections])


def principal_components(rows: np.ndarray) -> np.ndarray:
    """By the eigenvectors of the covariance, two of them."""
    centred = rows - rows.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, ::-1][:, :2]


def assert_equal_but_for_signs(ours: np.ndarray, theirs: np.ndarray, **how: float) -> None:
    for column in (0, 1):
        sign = np.sign(np.dot(ours[:, column], theirs[:, column]))
        np.testing.assert_allclose(ours[:, column], sign * theirs[:, column], **how)


@pytest.fixture(scope="module")
def digits() -> layerwise.TrainResult:
    return layerwise.train(
        layerwise.load_dataset("digits"),
        block=lambda depth: keras.layers.Dense(12, activation="relu"),
        epochs=3,
        max_depth=2,
        depth_rule=layerwise.FixedDepth(keep="last"),
        fine_tune=layerwise.FineTune(epochs=1),
        verbose=0,
    )


def test_the_embedding_is_that_of_principal_components() -> None:
    rows = RNG.normal(size=(40, 2, 3)) * [1.0, 3.0, 0.2]
    ax = plots.embedding(rows, ax=axes())
    assert_equal_but_for_signs(
        points_of(ax), principal_components(rows.reshape(40, 6)), rtol=1e-9, atol=1e-12
    )
    variance = np.sort(np.linalg.eigvalsh(np.cov(rows.reshape(40, 6).T)))[::-1]
    for label, share in zip(
        (ax.get_xlabel(), ax.get_ylabel()), variance / variance.sum(), strict=False
    ):
        assert f"({share:.0%} of the variance)" in label


def test_classes_have_their_rows() -> None:
    rows, y = RNG.normal(size=(30, 4)), np.arange(30) % 3
    ax = plots.embedding(rows, y, ["_a", "$b", "c"], axes())
    expected = principal_components(rows)
    drawn = [np.asarray(part.get_offsets()) for part in ax.collections]
    joined = np.empty((30, 2))
    for i, part in enumerate(drawn):
        joined[y == i] = part
    assert_equal_but_for_signs(joined, expected, rtol=1e-9, atol=1e-12)
    names = [text.get_text().strip() for text in ax.get_legend().get_texts()]
    assert names == ["_a", "$b", "c"]


def test_values_are_a_scale_of_colours() -> None:
    y = RNG.normal(size=20)
    ax = plots.embedding(RNG.normal(size=(20, 3)), y, ax=axes())
    np.testing.assert_array_equal(ax.collections[0].get_array(), y)
    assert ax.get_legend() is None


@pytest.mark.parametrize("shape", [(20, 1), (1, 5), (20, 3)], ids=["column", "row", "constant"])
def test_few_features_are_drawn(shape: tuple[int, ...]) -> None:
    rows = np.zeros(shape)
    if shape[1] == 1:
        rows = np.arange(20.0)[:, None]
    ax = plots.embedding(rows, ax=axes())
    assert points_of(ax).shape == (shape[0], 2)
    assert np.isfinite(points_of(ax)).all()


def test_a_result_draws_its_features(digits: layerwise.TrainResult) -> None:
    ax = digits.plot_embedding("test")
    data = digits._replicas[0].data
    x = np.asarray(data.test.x)
    for block in digits.blocks:
        x = np.maximum(x @ np.asarray(block.kernel) + np.asarray(block.bias), 0)
    expected = principal_components(x.astype("float64"))
    drawn = np.empty_like(expected)
    for i, part in enumerate(ax.collections):
        drawn[data.test.y == i] = np.asarray(part.get_offsets())
    assert_equal_but_for_signs(drawn, expected, rtol=1e-3, atol=1e-3)
    assert len(ax.get_legend().get_texts()) == 10
    assert "depth 2" in ax.get_title()


def test_of_many_rows_some_are_drawn(digits: layerwise.TrainResult) -> None:
    assert len(points_of(digits.plot_embedding("train", max_rows=50))) == 50
    rows = digits._replicas[0].data.validation.rows
    assert len(points_of(digits.plot_embedding())) == rows


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "tset"}, "`split` must be one of train, validation, test"),
        ({"max_rows": 1}, "`max_rows` must be a whole number of at least 2"),
    ],
)
def test_what_cannot_be_embedded_is_told(
    digits: layerwise.TrainResult, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        digits.plot_embedding(**wrong)


def tiles_of(ax: Any, height: int, width: int, count: int) -> list[np.ndarray]:
    """The tiles of a mosaic, whose rows are nearly as many as its columns."""
    image = np.asarray(ax.images[0].get_array())
    columns = (image.shape[1] + 1) // (width + 1)
    assert columns == math.ceil(math.sqrt(count))
    tiles = []
    for number in range(count):
        top, left = (number // columns) * (height + 1), (number % columns) * (width + 1)
        tiles.append(image[top : top + height, left : left + width])
    return tiles


def scaled(weights: np.ndarray) -> np.ndarray:
    return 0.5 + weights / np.abs(weights).max() / 2


def test_filters_of_a_dense_layer_are_its_columns(digits: layerwise.TrainResult) -> None:
    kernel = digits.model.layers[0].get_weights()[0]
    ax = digits.plot_filters(most=5)
    for unit, tile in enumerate(tiles_of(ax, 8, 8, 5)):
        np.testing.assert_allclose(tile, scaled(kernel[:, unit].reshape(8, 8)), rtol=1e-5)
    assert ax.get_title() == "5 of 12 units"
    assert digits.plot_filters().get_title() == "12 units"


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_filters_of_a_convolution_are_its_kernels(channels: int) -> None:
    kernel = RNG.normal(size=(3, 5, channels, 7))
    ax = plots.filters(kernel, axes())
    for unit, tile in enumerate(tiles_of(ax, 3, 5, 7)):
        seen = kernel[..., unit]
        if channels != 3:
            seen = seen.mean(axis=2)
        np.testing.assert_allclose(tile, scaled(seen), rtol=1e-5)


def test_a_unit_of_zeros_is_grey() -> None:
    ax = plots.filters(np.zeros((2, 2, 1, 1)), axes())
    np.testing.assert_array_equal(ax.images[0].get_array(), np.full((2, 2), 0.5))


def first_layer(layers: list[Any], shape: tuple[int, ...]) -> Any:
    x = RNG.normal(size=(40, *shape)).astype("float32")
    return layerwise.train(
        x, np.arange(40) % 2, block=lambda depth: keras.Sequential(layers), epochs=1, max_depth=1,
        verbose=0,
    )  # fmt: skip


def test_images_have_their_own_shape() -> None:
    layers = keras.layers
    flat = first_layer([layers.Flatten(), layers.Dense(3)], (4, 6, 2))
    kernel = flat.model._flatten_layers()
    found = next(layer for layer in kernel if isinstance(layer, layers.Dense))
    drawn = tiles_of(flat.plot_filters(), 4, 6, 3)
    seen = np.asarray(found.kernel).reshape(4, 6, 2, 3).mean(axis=2)
    np.testing.assert_allclose(drawn[2], scaled(seen[..., 2]), rtol=1e-5)
    convolution = first_layer([layers.Conv2D(4, (3, 2)), layers.Flatten()], (4, 6, 1))
    assert len(tiles_of(convolution.plot_filters(), 3, 2, 4)) == 4


def test_what_is_no_image_is_told() -> None:
    table = first_layer([keras.layers.Dense(3)], (7,))
    with pytest.raises(InputError, match=r"`image_shape` must be .* of 7 numbers.*needed where"):
        table.plot_filters()
    with pytest.raises(InputError, match=r"7 numbers. Received: \(2, 3\)\.$"):
        table.plot_filters(image_shape=(2, 3))
    assert table.plot_filters(image_shape=(1, 7)).images[0].get_array().shape[0] == 3
    with pytest.raises(InputError, match="`most` must be"):
        table.plot_filters(most=0)
    normed = first_layer([keras.layers.Conv1D(3, 2), keras.layers.Flatten()], (7, 2))
    with pytest.raises(InputError, match=r"of Dense and Conv2D\. The first layer is Conv1D"):
        normed.plot_filters()


def test_curves_and_depth_are_those_of_the_history(digits: layerwise.TrainResult) -> None:
    history = digits.history
    ax = history.plot_curves("loss")
    told = np.asarray(ax.lines[0].get_ydata())
    expected = [value for stage in history.stages for value in stage.curves["loss"]]
    np.testing.assert_array_equal(told[np.isfinite(told)], expected)
    assert history.plot_curves().get_ylabel() == "accuracy"
    by_depth = {line.get_label(): line for line in history.plot_depth().lines}
    scores = [stage.validation["accuracy"] for stage in history.stages]
    np.testing.assert_array_equal(by_depth["validation"].get_ydata(), scores)
    assert [len(line.get_xdata()) for line in digits.plot().lines] == [2, 2, 2]


@pytest.mark.parametrize("wrong", ["val_loss", "nonsense", ""])
def test_a_metric_that_nobody_reports_is_refused(digits: layerwise.TrainResult, wrong: str) -> None:
    with pytest.raises(InputError, match=r"`metric` must be one that the stages report: .*loss"):
        digits.history.plot_curves(wrong)
    with pytest.raises(InputError, match="there is none"):
        History(monitor="validation.loss").plot_curves()


def test_pyplot_knows_of_nothing(digits: layerwise.TrainResult) -> None:
    """Neither with axes nor without; what is given is drawn on and handed back."""
    from matplotlib import pyplot, rcParams

    mine, before = pyplot.figure(), dict(rcParams)
    try:
        for draw in (
            digits.plot, digits.plot_embedding, digits.plot_filters,
            digits.history.plot, digits.history.plot_depth, digits.history.plot_curves,
        ):  # fmt: skip
            ax = axes()
            assert draw(ax=ax) is ax
            assert ax.has_data()
            assert draw() is not draw()
        assert pyplot.get_fignums() == [mine.number]
        assert pyplot.gcf() is mine
        assert not mine.axes
        assert dict(rcParams) == before
    finally:
        pyplot.close(mine)
