"""Depth rules on histories written by hand: they need plain numbers and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerwise.depth import DepthRule, FixedDepth, OneStandardError, Plateau, explain
from layerwise.errors import InputError
from layerwise.history import History, RunStopReason, StageRecord, StopReason

ACCURACY, LOSS = "validation.accuracy", "validation.loss"

# The machine is shared, so an example has no deadline; no database, so nothing is left on disk.
relaxed = settings(deadline=None, database=None)


def history_of(scores, monitor=ACCURACY, **fields) -> History:
    """A history with these scores: a number, None for a diverged stage, or a list of replicates."""
    split, name = monitor.split(".")
    stages = []
    for depth, score in enumerate(scores, start=1):
        metric, diverged = score, score is None
        if isinstance(score, (list, tuple, np.ndarray)):
            kept = [v for v in score if v is not None]
            diverged = not kept
            metric = {
                "mean": None if diverged else float(np.mean(kept)),
                "std": None if diverged else float(np.std(kept, ddof=1)) if len(kept) > 1 else 0.0,
                "values": list(score),
            }
        metrics = {"train": {name: metric}, "validation": {name: metric}, "test": None}
        assert split in metrics
        stages.append(
            StageRecord(
                depth=depth,
                objective="supervised",
                head="carry",
                epochs=1,
                stop_reason=StopReason.DIVERGED if diverged else StopReason.COMPLETED,
                seconds=0.1,
                parameters=10,
                curves={},
                **metrics,
            )
        )
    return History(stages=stages, monitor=monitor, **fields)


def mirrored(scores):
    """The same contest in a metric where lower is better."""
    if scores is None:
        return None
    return [mirrored(s) for s in scores] if isinstance(scores, list) else 1 - scores


# All numbers are multiples of 1/8, so that sums and differences are exact in binary.
SELECTIONS = [
    ([], 0.0, None),
    ([0.5], 0.0, 1),
    ([0.5, 0.625, 0.75], 0.0, 3),
    ([0.5, 0.75, 0.625], 0.0, 2),
    ([0.5, 0.75, 0.75], 0.0, 2),
    ([0.5, 0.5, 0.5], 0.0, 1),
    # An improvement must exceed min_delta: by exactly min_delta is not enough.
    ([0.5, 0.625], 0.125, 1),
    ([0.5, 0.75], 0.125, 2),
    # Small steps add up against the depth kept, not against the depth before.
    ([0.5, 0.625, 0.75], 0.125, 3),
    ([0.5, 0.625, 0.625], 0.125, 1),
    # A diverged stage is never kept, first, last or in between.
    ([None, 0.5, 0.375], 0.0, 2),
    ([0.5, None, 0.75], 0.0, 3),
    ([0.5, 0.75, None], 0.0, 2),
    ([None, None], 0.0, None),
    # With replicates the means decide; one that diverged does not count.
    ([[0.5, 0.75], [0.625, 0.875]], 0.0, 2),
    ([[0.5, 0.75], [0.625, None]], 0.0, 1),
    ([[0.5, 0.625], [0.75, None]], 0.0, 2),
    ([[0.5, 0.625], [None, None]], 0.0, 1),
]


@pytest.mark.parametrize("lower", [False, True], ids=["accuracy", "loss"])
@pytest.mark.parametrize(("scores", "min_delta", "expected"), SELECTIONS)
def test_plateau_keeps_the_last_real_improvement(scores, min_delta, expected, lower):
    history = history_of(mirrored(scores), LOSS) if lower else history_of(scores)
    assert Plateau(min_delta=min_delta).select(history) == expected


@pytest.mark.parametrize("lower", [False, True], ids=["accuracy", "loss"])
@pytest.mark.parametrize(
    ("scores", "expected"), [(scores, kept) for scores, delta, kept in SELECTIONS if delta == 0]
)
def test_fixed_depth_keeps_the_best(scores, expected, lower):
    history = history_of(mirrored(scores), LOSS) if lower else history_of(scores)
    assert FixedDepth().select(history) == expected


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.75, 0.5, 0.25], 3),
        ([0.75, 0.5, None], 2),
        ([None, 0.5, None], 2),
        ([None, None], None),
        ([], None),
        ([[0.5, 0.75], [0.5, None], [None, None]], 2),
    ],
)
def test_fixed_depth_keeps_the_last_that_is_finite(scores, expected):
    assert FixedDepth(keep="last").select(history_of(scores)) == expected


def test_a_training_metric_can_be_monitored():
    assert FixedDepth(keep="last").select(history_of([2.0, 1.0], "train.loss")) == 2
    assert Plateau().select(history_of([2.0, 1.0, 1.5], "train.loss")) == 2


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "expected"),
    [
        ([0.5], 1, 0.0, False),
        ([0.5, 0.5], 1, 0.0, True),
        ([0.5, 0.75], 1, 0.0, False),
        ([0.5, 0.75, 0.5], 2, 0.0, False),
        ([0.5, 0.75, 0.5, 0.75], 2, 0.0, True),
        ([0.5, 0.75, 0.5, 0.875], 2, 0.0, False),
        ([0.5, 0.625, 0.625], 2, 0.125, True),
        ([0.5, 0.625, 0.75], 2, 0.125, False),
        # A diverged stage is a stage without improvement.
        ([0.5, None], 1, 0.0, True),
        ([0.5, None], 2, 0.0, False),
        ([None], 1, 0.0, True),
        ([None], 2, 0.0, False),
        ([None, 0.5], 1, 0.0, False),
    ],
)
@pytest.mark.parametrize("lower", [False, True], ids=["accuracy", "loss"])
def test_plateau_stops_after_patience_stages_without_improvement(
    scores, patience, min_delta, expected, lower
):
    history = history_of(mirrored(scores), LOSS) if lower else history_of(scores)
    assert Plateau(patience, min_delta).stop(history) is expected


@pytest.mark.parametrize("keep", ["best", "last"])
def test_fixed_depth_never_stops(keep):
    assert not FixedDepth(keep=keep).stop(history_of([0.75, *[0.5] * 50, None]))


eighths = st.integers(-64, 64).map(lambda n: n / 8)
scores_lists = st.lists(st.none() | eighths, min_size=1, max_size=12)


@relaxed
@given(scores_lists, st.integers(0, 16).map(lambda n: n / 8), st.sampled_from([ACCURACY, LOSS]))
def test_the_selection_is_at_most_min_delta_worse_than_the_best(scores, min_delta, monitor):
    chosen = Plateau(min_delta=min_delta).select(history_of(scores, monitor))
    finite = [s for s in scores if s is not None]
    if not finite:
        assert chosen is None
        return
    assert scores[chosen - 1] is not None
    best = max(finite) if monitor == ACCURACY else min(finite)
    # Exact: every number is a multiple of 1/8.
    assert abs(best - scores[chosen - 1]) <= min_delta


@relaxed
@given(scores_lists, st.sampled_from([ACCURACY, LOSS]))
def test_without_min_delta_the_selection_is_the_first_best(scores, monitor):
    worst = -np.inf if monitor == ACCURACY else np.inf
    array = np.array([worst if s is None else s for s in scores])
    first = int(array.argmax() if monitor == ACCURACY else array.argmin()) + 1
    expected = None if all(s is None for s in scores) else first
    history = history_of(scores, monitor)
    assert Plateau().select(history) == FixedDepth().select(history) == expected


@relaxed
@given(scores_lists, st.integers(1, 6), st.integers(0, 8).map(lambda n: n / 8))
def test_stop_means_that_the_last_patience_stages_did_not_improve(scores, patience, min_delta):
    improved, best = [], None
    for score in scores:
        better = score is not None and (best is None or score - best > min_delta)
        best = score if better else best
        improved.append(better)
    expected = len(scores) >= patience and not any(improved[-patience:])
    assert Plateau(patience, min_delta).stop(history_of(scores)) == expected


@relaxed
@given(scores_lists, st.integers(1, 6), st.lists(st.none() | eighths, max_size=4))
def test_stop_is_monotone(scores, patience, more):
    """Less patience stops no later, and a plateau stays one until something improves."""
    history = history_of(scores)
    if not Plateau(patience).stop(history):
        assert not Plateau(patience + 1).stop(history)
        return
    assert all(Plateau(less).stop(history) for less in range(1, patience))
    best = max((s for s in scores if s is not None), default=None)
    dull = [None if m is None or best is None else min(m, best) for m in more]
    assert Plateau(patience).stop(history_of(scores + dull))


@relaxed
@given(scores_lists, st.integers(1, 4))
def test_a_later_stage_cannot_change_a_choice_unless_it_is_better(scores, patience):
    before = Plateau(patience).select(history_of(scores))
    after = Plateau(patience).select(history_of([*scores, 1000.0]))
    assert after == len(scores) + 1
    assert Plateau(patience).select(history_of([*scores, None])) == before


def one_standard_error(replicates, lower) -> int | None:
    """The rule in NumPy alone; NaN stands for a diverged replicate."""
    values = np.array([[np.nan if v is None else v for v in row] for row in replicates])
    alive = np.isfinite(values).any(axis=1)
    if not alive.any():
        return None
    means = np.full(len(values), np.inf if lower else -np.inf)
    means[alive] = [np.mean(row[np.isfinite(row)]) for row in values[alive]]
    best = means.argmin() if lower else means.argmax()
    kept = values[best][np.isfinite(values[best])]
    spread = kept.std(ddof=1) if len(kept) > 1 else 0.0
    error = spread / np.sqrt(len(kept))
    close = means <= means[best] + error if lower else means >= means[best] - error
    return int(np.flatnonzero(close)[0]) + 1


@relaxed
@given(st.data(), st.booleans(), st.integers(2, 5))
def test_one_standard_error_equals_numpy(data, lower, n):
    row = st.lists(st.none() | eighths, min_size=n, max_size=n)
    replicates = data.draw(st.lists(row, min_size=1, max_size=6))
    history = history_of(replicates, LOSS if lower else ACCURACY)
    assert OneStandardError().select(history) == one_standard_error(replicates, lower)


def test_one_standard_error_by_hand():
    # Depth 3 is best: mean 0.75, spread 0.06 over n - 1, so its error is 0.06 / sqrt(3) = 0.0346
    # and depth 1 (0.72) lies within it; with the spread over n the error, 0.0283, excludes it.
    history = history_of([[0.70, 0.72, 0.74], [0.60, 0.61, 0.62], [0.69, 0.75, 0.81]])
    assert OneStandardError().select(history) == 1
    assert FixedDepth().select(history) == 3


def test_one_standard_error_counts_only_the_finite_replicates():
    # Mean 0.8, spread 0.1414, over 2 finite ones: error 0.1. Over all 4 it would be 0.0707.
    assert OneStandardError().select(history_of([[0.72] * 4, [0.7, 0.9, None, None]])) == 1


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # Without spread only a tie is within an error of 0.
        ([[0.5, 0.5], [0.75, 0.75], [0.75, 0.75]], 2),
        ([[0.5, 0.5], [0.75, None]], 2),
        ([[None, None], [None, None]], None),
        ([], None),
    ],
)
def test_one_standard_error_without_spread(scores, expected):
    assert OneStandardError().select(history_of(scores)) == expected


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("scores", [[[0.5, 0.7], [0.4, 0.4], [0.3, 0.3]], [[0.1] * 2, [0.2] * 2]])
def test_one_standard_error_stops_as_plateau_does(scores, patience):
    history = history_of(scores)
    assert OneStandardError(patience).stop(history) == Plateau(patience).stop(history)
    assert OneStandardError().stop(history) is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Plateau(patience=0), "`patience` must be at least 1. Received: 0."),
        (lambda: Plateau(patience=-2), "`patience` must be at least 1. Received: -2."),
        (lambda: Plateau(min_delta=-0.5), "`min_delta` must be 0 or more. Received: -0.5."),
        (lambda: Plateau(min_delta=np.nan), "`min_delta` must be 0 or more. Received: nan."),
        (
            lambda: FixedDepth(keep="first"),
            '`keep` must be "best" or "last". Received: \'first\'.',
        ),
        (
            lambda: OneStandardError(patience=0),
            "`patience` must be None or at least 1. Received: 0.",
        ),
    ],
)
def test_a_rule_refuses_senseless_arguments(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("rule", [Plateau(), FixedDepth(), OneStandardError()], ids=str)
def test_a_rule_that_compares_needs_validation_data(rule):
    rule.check(has_validation=True, replicates=2)
    with pytest.raises(InputError, match="there is no validation data") as caught:
        rule.check(has_validation=False, replicates=2)
    assert str(rule) in str(caught.value)
    assert 'FixedDepth(keep="last")' in str(caught.value)


def test_the_last_depth_needs_nothing():
    FixedDepth(keep="last").check(has_validation=False, replicates=1)


def test_one_standard_error_needs_replicates():
    with pytest.raises(InputError, match=r"`replicates` of 2 or more.*Received: replicates=1\."):
        OneStandardError().check(has_validation=True, replicates=1)
    Plateau().check(has_validation=True, replicates=1)
    FixedDepth().check(has_validation=True, replicates=1)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Plateau(), "plateau(patience=3, min_delta=0.0)"),
        (Plateau(1, 0.25), "plateau(patience=1, min_delta=0.25)"),
        (FixedDepth(), "fixed_depth(keep=best)"),
        (FixedDepth("last"), "fixed_depth(keep=last)"),
        (OneStandardError(), "one_standard_error(patience=None)"),
        (OneStandardError(2), "one_standard_error(patience=2)"),
    ],
)
def test_a_rule_writes_itself(rule, text):
    assert str(rule) == text
    assert isinstance(rule, DepthRule)


def test_the_protocol_asks_for_all_three_methods():
    class NoCheck:
        def stop(self, history):
            return False

        def select(self, history):
            return 1

    assert not isinstance(NoCheck(), DepthRule)


@pytest.mark.parametrize("reason", RunStopReason)
def test_explain_says_what_was_kept_and_why_growth_ended(reason):
    history = history_of(
        [0.5, 0.75, 0.625], selected_depth=2, depth_rule=str(Plateau()), stop_reason=reason
    )
    assert explain(history) == (
        "Depth 2 of 3 was kept by plateau(patience=3, min_delta=0.0) "
        f"(validation.accuracy 0.7500); {reason.sentence}."
    )


def test_explain_gives_the_mean_of_replicates():
    fields = {"selected_depth": 1, "depth_rule": "r", "stop_reason": RunStopReason.MAX_DEPTH}
    assert "(validation.loss 0.6250)" in explain(history_of([[0.5, 0.75]], LOSS, **fields))
    assert "(validation.loss);" in explain(history_of([None], LOSS, **fields))


@pytest.mark.parametrize(
    "fields", [{"selected_depth": 1}, {"stop_reason": RunStopReason.DIVERGED}, {}]
)
def test_explain_without_a_choice(fields):
    assert explain(history_of([0.5], **fields)) == "No depth was chosen."
