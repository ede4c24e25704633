"""The history as a document: what is written, what is read back, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.errors import InputError, MissingDependencyError
from layerwise.history import (
    History,
    RunStopReason,
    Score,
    StageRecord,
    StopReason,
    finite,
    higher_is_better,
    score_of,
)

# The machine is shared, so an example has no deadline; no database, so nothing is left on disk.
relaxed = settings(deadline=None, database=None, max_examples=60)

# From the design page, digit by digit: other people's scripts read this.
DOCUMENT = """
{"schema": 1,
 "stages": [{"depth": 1, "objective": "supervised", "head": "carry", "epochs": 25,
             "stop_reason": "completed", "seconds": 13.3, "parameters": 789258,
             "train": {"loss": 1.2, "accuracy": 0.57},
             "validation": {"loss": 1.4, "accuracy": 0.51}, "test": null,
             "curves": {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}}],
 "selected_depth": 2, "depth_rule": "plateau(patience=3, min_delta=0.0)",
 "monitor": "validation.accuracy", "stop_reason": "depth_plateau", "fine_tune": null,
 "baseline": null, "test": {"loss": 1.39, "accuracy": 0.51}}
"""


def stage(depth=1, **changes) -> StageRecord:
    fields = {
        "depth": depth,
        "objective": "supervised",
        "head": "carry",
        "epochs": 2,
        "stop_reason": StopReason.COMPLETED,
        "seconds": 0.5,
        "parameters": 100,
        "train": {"loss": 0.5, "accuracy": 0.75},
        "validation": {"loss": 0.625, "accuracy": 0.5},
        "test": None,
        "curves": {"loss": [0.75, 0.5], "val_accuracy": [0.25, 0.5]},
    }
    return StageRecord(**{**fields, **changes})


def spread(*values) -> dict:
    kept = [v for v in values if v is not None]
    return {"mean": np.mean(kept).item(), "std": np.std(kept).item(), "values": list(values)}


def refuse(name):
    raise AssertionError(f"{name} is not JSON")


def test_the_document_of_the_design_is_read_and_written_as_it_stands():
    history = History.from_json(DOCUMENT)
    assert history.stages[0].stop_reason is StopReason.COMPLETED
    assert history.stop_reason is RunStopReason.DEPTH_PLATEAU
    assert json.loads(history.to_json()) == json.loads(DOCUMENT)
    # The order too, as people read it.
    assert list(history.to_dict()) == list(json.loads(DOCUMENT))
    assert list(history.to_dict()["stages"][0]) == list(json.loads(DOCUMENT)["stages"][0])


def test_replicates_add_one_field():
    record = stage(validation={"loss": spread(0.5, 0.75, None)}, diverged=1)
    written = json.loads(History(stages=[record]).to_json())["stages"][0]
    assert set(written) - set(json.loads(DOCUMENT)["stages"][0]) == {"diverged"}
    assert written["diverged"] == 1
    expected = {"mean": 0.625, "std": 0.125, "values": [0.5, 0.75, None]}
    assert written["validation"] == {"loss": expected}


numbers = st.floats(width=64) | st.integers(-(2**40), 2**40)
finite_numbers = st.floats(allow_nan=False, allow_infinity=False)


def histories(number):
    metric = (
        st.none()
        | number
        | st.fixed_dictionaries(
            {"mean": number, "std": number, "values": st.lists(st.none() | number, max_size=3)}
        )
    )
    metrics = st.dictionaries(st.text(max_size=6), metric, max_size=3)
    anything = st.dictionaries(st.text(max_size=6), metrics | st.booleans() | number, max_size=2)
    record = st.builds(
        StageRecord,
        depth=st.integers(1, 99),
        objective=st.text(max_size=6),
        head=st.sampled_from(["carry", "fresh", "frozen"]),
        epochs=st.integers(0, 999),
        stop_reason=st.sampled_from(StopReason),
        seconds=number,
        parameters=st.integers(0, 10**9),
        train=metrics,
        validation=st.none() | metrics,
        test=st.none() | metrics,
        curves=st.dictionaries(
            st.text(max_size=6), st.lists(st.none() | number, max_size=4), max_size=3
        ),
        diverged=st.none() | st.integers(0, 5),
    )
    return st.builds(
        History,
        stages=st.lists(record, max_size=2),
        selected_depth=st.none() | st.integers(1, 99),
        depth_rule=st.text(max_size=10),
        monitor=st.text(max_size=10),
        stop_reason=st.none() | st.sampled_from(RunStopReason),
        fine_tune=st.none() | anything,
        baseline=st.none() | anything,
        test=st.none() | metrics,
    )


@relaxed
@given(histories(finite_numbers))
def test_a_finite_history_survives_json_unchanged(history):
    assert History.from_json(history.to_json()) == history


def same(written, value) -> bool:
    """Whether one is the other, with null for NaN and infinity and for nothing else."""
    if isinstance(value, dict):
        return list(written) == list(value) and all(same(written[k], value[k]) for k in value)
    if isinstance(value, list):
        return len(written) == len(value) and all(map(same, written, value))
    if isinstance(value, float) and not math.isfinite(value):
        return written is None
    return written == value and isinstance(written, bool) == isinstance(value, bool)


@relaxed
@given(histories(numbers))
def test_what_is_not_finite_is_null(history):
    text = history.to_json()
    whole = json.loads(text, parse_constant=refuse)
    for written, record in zip(whole["stages"], history.stages, strict=True):
        fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
        for optional in ("diverged", "retries", "message", "ledger"):
            if fields[optional] is None:
                del fields[optional]
        assert same(written, fields)
    for name in ("selected_depth", "depth_rule", "monitor", "fine_tune", "baseline", "test"):
        assert same(whole[name], getattr(history, name))
    # Once written, nothing changes any more.
    assert History.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float64("nan"), None),
        (0.5, 0.5),
        (True, True),
        (7, 7),
        ("inf", "inf"),
        ((1.0, math.inf), [1.0, None]),
        ({1: [{"a": math.nan}]}, {"1": [{"a": None}]}),
    ],
)
def test_finite_replaces_only_what_json_cannot_write(value, expected):
    assert finite(value) == expected


def test_the_summary_is_the_document_without_curves():
    history = History(stages=[stage(1), stage(2)], selected_depth=1, test={"loss": math.nan})
    expected = history.to_dict()
    for record in expected["stages"]:
        del record["curves"]
    assert history.summary() == expected
    assert history.to_dict()["stages"][0]["curves"]["loss"] == [0.75, 0.5]
    json.dumps(history.summary(), allow_nan=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        DOCUMENT[:100],
        "[]",
        "3",
        "null",
        '"schema"',
        "{}",
        '{"schema": 2, "stages": [], "stop_reason": null}',
        '{"schema": "1", "stages": [], "stop_reason": null}',
        '{"schema": null, "stages": [], "stop_reason": null}',
        '{"schema": 1}',
        '{"schema": 1, "stages": []}',
        '{"schema": 1, "stages": null, "stop_reason": null}',
        '{"schema": 1, "stages": [3], "stop_reason": null}',
        '{"schema": 1, "stages": ["x"], "stop_reason": null}',
        '{"schema": 1, "stages": [{}], "stop_reason": null}',
        '{"schema": 1, "stages": [{"stop_reason": "completed"}], "stop_reason": null}',
        '{"schema": 1, "stages": [], "stop_reason": null, "colour": "red"}',
        DOCUMENT.replace('"epochs": 25', '"epochs": 25, "colour": "red"'),
        DOCUMENT.replace('"epochs": 25,', ""),
        *(
            pytest.param(
                DOCUMENT.replace(f'"{reason}"', '"bored"'),
            )
            for reason in ("completed", "depth_plateau")
        ),
    ],
)
def test_anything_else_is_refused_with_one_sentence(text):
    with pytest.raises(InputError) as caught:
        History.from_json(text)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert "history" in message


def test_another_schema_is_named():
    with pytest.raises(InputError) as caught:
        History.from_json(DOCUMENT.replace('"schema": 1', '"schema": 2'))
    assert str(caught.value) == "Expected a history of schema 1. Received: 2."


RUN = [
    stage(1),
    stage(2, test={"loss": 0.25}),
    stage(3, train={"loss": None}, validation={}, stop_reason=StopReason.DIVERGED),
]
COLUMNS = [
    *("depth", "objective", "head", "epochs", "stop_reason", "seconds", "parameters"),
    *("train.loss", "train.accuracy", "validation.loss", "validation.accuracy", "test.loss"),
]


@pytest.fixture
def hide(monkeypatch):
    """Make packages look as if they were not installed."""
    real = importlib.util.find_spec

    def hidden(*names):
        def find_spec(name, package=None):
            return None if name in names else real(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)

    return hidden


def test_to_frame_prefers_pandas():
    pandas = pytest.importorskip("pandas")
    frame = History(stages=RUN).to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == COLUMNS
    assert frame["depth"].tolist() == [1, 2, 3]
    assert frame["stop_reason"].tolist() == ["completed", "completed", "diverged"]
    np.testing.assert_array_equal(frame["train.loss"].to_numpy(float), [0.5, 0.5, np.nan])
    np.testing.assert_array_equal(frame["test.loss"].to_numpy(float), [np.nan, 0.25, np.nan])


def test_to_frame_takes_polars_where_there_is_no_pandas(hide):
    polars = pytest.importorskip("polars")
    hide("pandas")
    frame = History(stages=RUN).to_frame()
    assert isinstance(frame, polars.DataFrame)
    assert frame.columns == COLUMNS
    assert frame["depth"].to_list() == [1, 2, 3]
    assert frame["stop_reason"].to_list() == ["completed", "completed", "diverged"]
    assert frame["train.loss"].to_list() == [0.5, 0.5, None]
    assert frame["test.loss"].to_list() == [None, 0.25, None]


def test_to_frame_says_what_to_install(hide):
    hide("pandas", "polars", "pyarrow")
    with pytest.raises(MissingDependencyError, match=r"needs pandas, polars or PyArrow\. Run `pip"):
        History(stages=RUN).to_frame()


def test_to_frame_gives_mean_and_spread_of_replicates():
    pytest.importorskip("pandas")
    nothing = {"mean": None, "std": None, "values": [None, None]}
    records = [
        stage(1, train={}, validation={"loss": spread(0.5, 0.75)}, diverged=0),
        stage(2, train={}, validation={"loss": nothing}, diverged=2),
    ]
    frame = History(stages=records).to_frame()
    added = ["validation.loss", "validation.loss.std", "diverged"]
    assert list(frame.columns) == [*COLUMNS[:7], *added]
    np.testing.assert_array_equal(frame["validation.loss"].to_numpy(float), [0.625, np.nan])
    np.testing.assert_array_equal(frame["validation.loss.std"].to_numpy(float), [0.125, np.nan])
    assert frame["diverged"].tolist() == [0, 2]


def test_to_frame_of_nothing_is_empty():
    assert len(History().to_frame()) == 0


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        *((f"validation.{name}", True) for name in ("accuracy", "auc", "precision", "recall")),
        *((f"train.{name}", True) for name in ("f1", "f1_score", "r2_score", "mean_iou")),
        ("test.sparse_categorical_accuracy", True),
        ("validation.Accuracy", True),
        ("accuracy", True),
        *((f"validation.{name}", False) for name in ("loss", "mean_squared_error", "mae")),
        ("validation.root_mean_squared_error", False),
        # The split is no part of the metric.
        ("recall.loss", False),
    ],
)
def test_higher_is_better(metric, expected):
    assert higher_is_better(metric) is expected


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (0.5, Score(0.5, 0.0, 1)),
        (2, Score(2.0, 0.0, 1)),
        (None, None),
        (math.nan, None),
        (math.inf, None),
        (spread(0.5, 0.75, None), Score(0.625, 0.125, 2)),
        ({"mean": None, "std": None, "values": [None]}, None),
        ({"mean": 0.5, "std": 0.0, "values": []}, None),
    ],
)
def test_score_of(metric, expected):
    assert score_of(metric) == expected


def test_scores_follow_the_monitor_and_skip_what_diverged():
    records = [
        stage(1),
        # Diverged after a finite evaluation: not a score.
        stage(2, stop_reason=StopReason.DIVERGED),
        stage(3, validation=None),
        stage(4, validation={"accuracy": None}, stop_reason=StopReason.EARLY_STOPPING),
    ]
    history = History(stages=records, monitor="validation.accuracy")
    assert history.scores() == [Score(0.5, 0.0, 1), None, None, None]
    history.monitor = "train.accuracy"
    assert history.scores()[2] == Score(0.75, 0.0, 1)
    assert History(monitor="validation.accuracy").scores() == []


@pytest.mark.parametrize("reason", RunStopReason)
def test_every_reason_has_a_sentence_of_its_own(reason):
    assert len(reason.sentence.split()) > 3
    assert sum(reason.sentence == other.sentence for other in RunStopReason) == 1


def lines_of(ax) -> dict:
    return {line.get_label(): np.array(line.get_xydata()) for line in ax.get_lines()}


def test_plot_draws_the_monitor_by_depth():
    records = [
        stage(1),
        stage(2, train={"accuracy": 0.875}, validation={"accuracy": None}),
        stage(3, test={"accuracy": 0.25}),
    ]
    history = History(stages=records, monitor="validation.accuracy", selected_depth=3)
    ax = history.plot()
    lines = lines_of(ax)
    assert list(lines) == ["train", "validation", "test", "chosen depth 3"]
    np.testing.assert_array_equal(lines["train"], [[1, 0.75], [2, 0.875], [3, 0.75]])
    np.testing.assert_array_equal(lines["validation"], [[1, 0.5], [2, np.nan], [3, 0.5]])
    np.testing.assert_array_equal(lines["test"], [[1, np.nan], [2, np.nan], [3, 0.25]])
    np.testing.assert_array_equal(lines["chosen depth 3"][:, 0], [3, 3])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("depth (blocks)", "accuracy")
    assert not ax.collections


def test_plot_leaves_out_what_is_not_there():
    ax = History(stages=[stage(1, validation=None)], monitor="train.loss").plot()
    assert list(lines_of(ax)) == ["train"]


def test_plot_draws_on_given_axes_and_shows_the_spread_of_replicates():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    records = [stage(d, train={}, validation={"loss": spread(0.5, 0.75)}) for d in (1, 2)]
    assert History(stages=records, monitor="validation.loss").plot(ax) is ax
    np.testing.assert_array_equal(lines_of(ax)["validation"][:, 1], [0.625, 0.625])
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.5, 0.75)


def test_plot_opens_no_window():
    import matplotlib.pyplot as plt

    History(stages=[stage()], monitor="validation.loss").plot()
    assert plt.get_fignums() == []


def test_a_snapshot_is_what_to_dict_gives_and_tells_each_stage_once():
    history = History(stages=[stage(1), stage(2)], monitor="validation.accuracy")
    first, second, apart = history.snapshot(), history.snapshot(), history.to_dict()
    assert first == second == apart
    assert list(first) == list(apart)
    assert all(one is other for one, other in zip(first["stages"], second["stages"], strict=True))
    apart["stages"][0]["train"].clear()
    assert history.to_dict() == first
