"""The page, its verdict and the pictures, from histories written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from layerwise import plots
from layerwise.history import score_of
from layerwise.report import chance_explains, format_metric, render, verdict
from layerwise.report._comparison import comparison_rows
from layerwise.report._format import format_bytes, format_count
from layerwise.report._page import environment

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


def spread(*values: float | None) -> dict[str, Any]:
    """A metric over replicates."""
    finite = [v for v in values if v is not None]
    std = float(np.std(finite, ddof=1)) if len(finite) > 1 else 0.0 if finite else None
    mean = float(np.mean(finite)) if finite else None
    return {"mean": mean, "std": std, "values": list(values)}


def a_stage(depth: int, epochs: int = 3, **changes: Any) -> dict[str, Any]:
    """A record as in `history.json`; its curves climb from 0.5."""
    climb = [0.5 + 0.01 * i for i in range(epochs)]
    record = {
        "depth": depth,
        "objective": "supervised",
        "head": "carry",
        "epochs": epochs,
        "stop_reason": "completed",
        "seconds": 1.25,
        "parameters": 1234,
        "train": {"loss": 0.3, "accuracy": 0.9},
        "validation": {"loss": 0.4, "accuracy": 0.8 + depth / 1000},
        "test": None,
        "curves": {"loss": climb, "accuracy": climb, "val_loss": climb, "val_accuracy": climb},
    }
    return record | changes


def a_history(stages: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A whole history; by default two stages, the second chosen, and a test score of 0.85."""
    record = {
        "schema": 1,
        "stages": [a_stage(1), a_stage(2)] if stages is None else stages,
        "selected_depth": 2,
        "depth_rule": "plateau(patience=3, min_delta=0.0)",
        "monitor": "validation.accuracy",
        "stop_reason": "max_depth",
        "fine_tune": None,
        "baseline": None,
        "test": {"loss": 0.5, "accuracy": 0.85},
    }
    return record | changes


def baseline(test: Any, validation: Any = 0.7, metric: str = "accuracy") -> dict[str, Any]:
    return {
        "validation": {"loss": 0.1, metric: validation},
        "test": None if test == "no test" else {"loss": 0.1, metric: test},
        "seconds": 2.0,
        "parameters": 4321,
        "epochs": 6,
    }


def test_the_price_of_growing_is_that_of_all_stages_for_one_replicate() -> None:
    spread = {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}

    def ledger(compiling: float, operations: float, peak: int) -> dict[str, Any]:
        seconds = {"compiling": compiling, "training": 1.0}
        return {"seconds": seconds, "operations": operations, "peak_bytes": peak}

    stages = [
        a_stage(1, train={"accuracy": spread}, seconds=10.0, ledger=ledger(4.0, 100.0, 7)),
        a_stage(2, train={"accuracy": spread}, seconds=20.0, ledger=ledger(2.0, 300.0, 9)),
    ]
    tuned = {**TUNED, "seconds": 6.0, "ledger": ledger(1.0, 50.0, 8)}
    history = a_history(
        stages, selected_depth=1, fine_tune=tuned, baseline={"end_to_end": baseline(0.8)}
    )
    grown, rival = comparison_rows(history)
    assert (grown.seconds, grown.compiling, grown.operations) == (18.0, 3.5, 225.0)
    assert (grown.peak_bytes, grown.epochs, grown.parameters) == (9, 6, 4321)
    assert (rival.name, rival.seconds, rival.chosen) == ("end to end", 2.0, False)


def test_a_stage_tells_its_share_of_what_the_machine_reaches() -> None:
    show = environment().filters["share"]
    spent = {"compiling": 5.0, "training": 1.5, "caching": 0.5}
    assert show({"seconds": spent, "operations": 100.0, "matrix_rate": 200.0}) == "25%"
    # Kept by an earlier version, not counted, not there.
    for ledger in ({"operations": 1.0}, {"operations": None, "matrix_rate": None}, {}):
        assert show({"seconds": spent, "operations": None, **ledger}) == ""
    assert show(None) == ""


def test_a_unit_begins_at_one_of_it() -> None:
    assert [format_count(n) for n in (999, 1000, 1e6)] == ["999", "1 k", "1 M"]
    assert [format_bytes(n) for n in (999, 1000, 10**9)] == ["999 B", "1 kB", "1 GB"]


FACTS = {
    "recipe": "digits",
    "command": "layerwise run digits",
    "seed": 0,
    "replicates": 1,
    "engine": "compiled",
    "backend": "jax",
    "head": "carry",
    "data": {"name": "digits", "rows": {"train": 80, "validation": 20}, "fingerprint": "ab" * 32},
    "versions": {"layerwise": "0.1.0", "keras": "3.15.1"},
}
TUNED = {
    "validation_before": {"loss": 0.4, "accuracy": 0.80},
    "validation_after": {"loss": 0.3, "accuracy": 0.95},
    "kept": True,
    "seconds": 1.0,
}


def page(history: dict[str, Any], explanation: str = "Because.", **facts: Any) -> str:
    """The report as a run folder writes it."""
    svg = plots.to_svg(plots.depth_curve(history))
    pictures = facts.pop("pictures", {})
    return render(history, FACTS | facts, explanation, svg, pictures)


class Page(HTMLParser):
    """Tags balance, and the text and attributes that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: dict[str | None, str] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self._inside: list[str | None] = []
        self.feed(text)
        self.close()
        assert self.open == [], "tags left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
            self._inside.append(dict(attrs).get("id"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]} in {self.getpos()}"
        self.open.pop()
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        for name in {None, *self._inside}:
            self.text[name] = self.text.get(name, "") + data


def rich_stage(depth: int) -> dict[str, Any]:
    """A stage of 30 replicates, two of them diverged."""
    values = [0.8 + 0.001 * i for i in range(28)]
    metrics = {"loss": spread(*values, None, None), "accuracy": spread(*values, None, None)}
    return a_stage(depth, train=metrics, validation=metrics, diverged=2)


def lost_stage(depth: int) -> dict[str, Any]:
    """A stage that diverged at once."""
    nothing = {"loss": None, "accuracy": None}
    curves = {name: [None] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    return a_stage(
        depth, train=nothing, validation=nothing, stop_reason="diverged", curves=curves, epochs=1
    )


HISTORIES: dict[str, Callable[[], dict[str, Any]]] = {
    "one stage": lambda: a_history([a_stage(1)], selected_depth=1),
    "two stages": a_history,
    "12 stages": lambda: a_history([a_stage(d) for d in range(1, 13)], selected_depth=7),
    "30 replicates": lambda: a_history(
        [rich_stage(1), rich_stage(2)], test={"loss": spread(0.1, 0.2), "accuracy": spread(0.8, 1)}
    ),
    "a diverged stage": lambda: a_history([a_stage(1), lost_stage(2)], selected_depth=1),
    "diverged at once": lambda: a_history([lost_stage(1)], selected_depth=None, test=None),
    "no test": lambda: a_history(test=None),
    "no validation": lambda: a_history(
        [a_stage(1, validation=None), a_stage(2, validation=None)], monitor="train.accuracy"
    ),
    "test at each stage": lambda: a_history(
        [a_stage(depth, test={"loss": 0.1, "accuracy": 0.77}) for depth in (1, 2)]
    ),
    "fine-tuned": lambda: a_history(fine_tune=TUNED),
    "baselines": lambda: a_history(
        baseline={"end_to_end": baseline(0.8), "shallow": baseline(None, None)}
    ),
    "interrupted": lambda: a_history(
        [a_stage(1)], selected_depth=None, stop_reason="interrupted", test=None
    ),
    "values": lambda: a_history(
        [a_stage(1, train={"loss": 1.0, "mean_squared_error": 1.0},
                 validation={"loss": 1.0, "mean_squared_error": 1.0})],
        monitor="validation.mean_squared_error", selected_depth=1, test=None,
    ),
    "no labels": lambda: a_history(
        [a_stage(1, train={"loss": 1.0}, validation={"loss": 1.0},
                 curves={"loss": [1.0], "val_loss": [1.0]})],
        monitor="validation.loss", selected_depth=1, test={"loss": 1.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
def test_the_page_of_any_history(make: Callable[[], dict[str, Any]]) -> None:
    history = make()
    text = page(history)
    seen = Page(text)
    assert text.startswith("<!doctype html>")
    chosen = history["selected_depth"]
    assert seen.text["selected-depth"] == ("none" if chosen is None else str(chosen))
    assert seen.text["verdict"] == verdict(history).sentence
    pictures = 2 + (history["monitor"] != "validation.loss") + (history["baseline"] is not None)
    assert seen.tags.count("svg") == pictures
    rows = re.findall(r"<tr[^>]*><td>(\d+)</td>", text)
    assert rows == [str(stage["depth"]) for stage in history["stages"]]
    marked = re.findall(r'<tr class="chosen"><td>(\d+)</td>', text)
    assert marked == ([] if chosen is None else [str(chosen)])


@pytest.mark.parametrize(
    ("stages", "epochs"),
    [
        (10, 25),
        pytest.param(
            *(100, 100),
        ),
    ],
)
def test_the_page_stays_below_a_megabyte(stages: int, epochs: int) -> None:
    text = page(a_history([a_stage(depth, epochs=epochs) for depth in range(1, stages + 1)]))
    assert text.count("</tr>") == stages + 1
    assert len(text.encode()) < 1_000_000


def test_the_page_says_what_was_scored() -> None:
    whole = a_history(fine_tune=TUNED, baseline={"end_to_end": baseline(0.8765)})
    text = Page(page(whole, "Since deeper was no better.")).text[None]
    for words in (
        *("Since deeper was no better.", "0.8010", "0.8020", "1,234", "1.25", "completed"),
        *("0.8500", "end to end", "0.8765", "4,321", "from\n0.8000 to 0.9500", "the tuned network"),
        *("layerwise run digits", "80 train, 20 validation rows", "ab" * 32, "0, 1 replicate"),
        *("compiled on jax", "keras 3.15.1"),
    ):
        assert words in text
    assert "the grown network" in page(a_history(fine_tune=TUNED | {"kept": False}))


def test_the_page_tells_both_steps_of_a_fine_tuning() -> None:
    steps = [{"when": "before", **TUNED, "kept": False}, {"when": "after", **TUNED}]
    words = page(a_history(fine_tune=TUNED | {"when": "both", "steps": steps}))
    assert "their own objective after growth and given a new classifier" in words
    for row in ("the blocks alone, by their own objective", "the blocks and the classifier"):
        assert f"<tr><td>{row}</td><td>0.8000</td><td>0.9500</td>" in words


@pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
def test_the_page_loads_nothing(make: Callable[[], dict[str, Any]]) -> None:
    """Whatever a browser would fetch is a fragment of the page itself."""
    text = page(make())
    fetched = ("src", "href", "xlink:href", "srcset", "data", "poster", "action", "background")
    for tag, name, value in Page(text).attributes:
        if name in fetched:
            assert value.startswith("#"), (tag, name, value)
        assert not name.startswith("on"), "no handlers"
        for target in re.findall(r"url\(([^)]*)\)", value):
            assert target.startswith("#")
    for style in re.findall(r"<style.*?</style>", text, re.DOTALL):
        assert "@import" not in style
        assert "url(" not in style
    assert not {"script", "link", "iframe", "object", "embed", "img", "image", "base"} & set(
        Page(text).tags
    )


def test_the_content_security_policy_forbids_all_but_styles_and_pictures_within() -> None:
    attributes = Page(page(a_history())).attributes
    policy = next(value for tag, name, value in attributes if (tag, name) == ("meta", "content")
                  and "default-src" in value)  # fmt: skip
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert ("meta", "http-equiv", "Content-Security-Policy") in attributes


@pytest.mark.parametrize("make", HISTORIES.values(), ids=HISTORIES)
def test_pictures_on_one_page_do_not_mix(make: Callable[[], dict[str, Any]]) -> None:
    """Each picture brings its own ids: where a reference could mean two things, both are alike."""
    text = page(make())
    pieces: dict[str, set[str]] = {}
    for body in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        for name in set(re.findall(r'(?:href="|url\()#([\w.-]+)', body)):
            found = re.search(rf'<(\w+)[^<>]*\bid="{re.escape(name)}".*?>(?s:.*?)</\1>|'
                              rf'<\w+[^<>]*\bid="{re.escape(name)}"[^<>]*/>', body)  # fmt: skip
            assert found is not None, f"#{name} leads nowhere"
            pieces.setdefault(name, set()).add(found.group())
    assert pieces
    assert [name for name, bodies in pieces.items() if len(bodies) > 1] == []


def test_ids_are_unique_on_the_page() -> None:
    ids = [value for _, name, value in Page(page(a_history())).attributes if name == "id"]
    assert len(ids) == len(set(ids))


HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "]]></svg></style><script>",
    "--><script>alert(1)</script><!--",
    "</title></code><b>",
    "{{ 7 * 7 }} {% raw %}",
    "Grüße 深い 🌱 \u202e",
    "two\nlines",
    "&lt;b&gt; &amp; &",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_only_text(text: str) -> None:
    stages = [a_stage(1, objective=text, head=text), a_stage(2, objective=text)]
    history = a_history(
        stages, depth_rule=text, baseline={text.replace("_", " "): baseline(0.5)},
        test={"loss": 1.0, "accuracy": 0.9, text.replace("_", " "): 0.5},
    )  # fmt: skip
    data = FACTS["data"] | {"name": text}
    plain = page(a_history(baseline={"b": baseline(0.5)}, fine_tune=None))
    hostile = page(
        history, text, recipe=text, command=text, data=data, head=text,
        pictures={text: "<svg></svg>"},
    )  # fmt: skip
    seen = Page(hostile)
    # The same elements as with plain names, but for the extra picture and the extra test metric.
    extra = ["h2", "figure", "svg", "dt", "dd"]
    # How many marks an axis gets depends on the length of the names beside it.
    tags = [Page(re.sub(r"<svg.*?</svg>", "<svg></svg>", one, flags=re.DOTALL)).tags
            for one in (hostile, plain)]  # fmt: skip
    assert sorted(tags[0]) == sorted([*tags[1], *extra])
    assert seen.text[None].count(text) >= 8, "shown as it was given"
    assert ("figure", "aria-label", text) in seen.attributes
    if text.startswith("<script>"):
        assert "<script" not in hostile


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "--><b>", "]]>", '"><b>', "a&b"])
def test_a_hostile_metric_is_only_text_in_pictures_too(name: str) -> None:
    """Custom objectives name their metrics; the name is an axis label, and so a comment in SVG."""
    metrics = {"loss": 0.5, name: 0.5}
    stage = a_stage(1, train=metrics, validation=metrics, curves={name: [0.5], f"val_{name}": [1]})
    history = a_history([stage], selected_depth=1, monitor=f"validation.{name}", test=metrics)
    tags = set(Page(page(history)).tags)
    assert not {"script", "b"} & tags


# The verdict.


def scored(rows: int, **rivals: Any) -> dict[str, Any]:
    """Baselines by name with their test accuracy, each on so many rows."""
    return {name: baseline(test) | {"rows": {"test": rows}} for name, test in rivals.items()}


VERDICTS: list[Any] = [
    pytest.param({}, "unknown", "No baseline was trained", id="no baseline"),
    pytest.param({"baseline": {}}, "unknown", "No baseline was trained", id="empty baseline"),
    pytest.param(
        {"baseline": scored(10_000, end_to_end=0.80, shallow=0.82)},
        "helped",
        "Greedy training helped here: the chosen network of depth 2 reaches a test accuracy of "
        "0.8500; the best of 2 baselines, shallow training, reaches 0.8200: 0.0300 ahead, "
        "more than "
        "the 0.0103 that chance explains.",
        id="ahead",
    ),
    pytest.param(
        {"baseline": scored(10_000, end_to_end=0.90, shallow=0.82)},
        "behind",
        "Greedy training did not help here: the chosen network of depth 2 reaches a test accuracy "
        "of 0.8500; the best of 2 baselines, end to end training, reaches 0.9000: 0.0500 "
        "behind, more "
        "than the 0.0091 that chance explains.",
        id="behind",
    ),
    pytest.param(
        {"baseline": scored(100, end_to_end=0.90)},
        "level",
        "Greedy training made no difference here that can be told from chance: the chosen network "
        "of depth 2 reaches a test accuracy of 0.8500; the only baseline, end to end training, "
        "reaches 0.9000: 0.0500 behind, and chance explains up to 0.0914.",
        id="within noise",
    ),
    pytest.param(
        {"baseline": {"end_to_end": baseline(0.85)}},
        "level",
        "end to end training, reaches 0.8500: they are level.",
        id="level",
    ),
    pytest.param(
        {"baseline": scored(10_000, end_to_end=None, shallow=0.7)},
        "helped",
        "the only baseline, shallow training, reaches 0.7000: 0.1500 ahead, more than the "
        "0.0114 that "
        "chance explains. Baselines that failed: end to end.",
        id="one baseline failed",
    ),
    pytest.param(
        {"baseline": {"end_to_end": baseline(None), "shallow": baseline(None)}},
        "unknown",
        "Every baseline failed, so there is nothing to compare it with.",
        id="all baselines failed",
    ),
    pytest.param(
        {"test": None, "baseline": {"end_to_end": baseline("no test", 0.702)}},
        "helped",
        "a validation accuracy of 0.8020; the only baseline, end to end training, reaches 0.7020: "
        "0.1000 ahead, on one seed each, so that chance cannot be judged. There are no test rows: "
        "validation also chose the depth, which flatters it.",
        id="validation decides without test",
    ),
    pytest.param({"selected_depth": None}, "unknown", "No network was chosen.", id="nothing"),
    pytest.param(
        {"test": {"accuracy": None}},
        "unknown",
        "The network of depth 2 was chosen.",
        id="no finite score",
    ),
    pytest.param(
        {"test": {"accuracy": spread(0.9, 0.8)}, "baseline": {"end_to_end": baseline(0.80)}},
        "level",
        "a test accuracy of 0.8500 ± 0.0707; the only baseline, end to end training, reaches "
        "0.8000: "
        "0.0500 ahead, and chance explains up to 1.1004.",
        id="mean of replicates",
    ),
    pytest.param(
        {"test": None, "fine_tune": TUNED, "baseline": {"end_to_end": baseline("no test", 0.9)}},
        "helped",
        "a validation accuracy of 0.9500; the only baseline, end to end training, reaches 0.9000: "
        "0.0500 ahead",
        id="fine-tuned without test",
    ),
    pytest.param(
        {"test": None, "fine_tune": TUNED | {"kept": False}},
        "unknown",
        "a validation accuracy of 0.8020",
        id="fine-tuning not kept",
    ),
    pytest.param(
        {
            "test": None,
            "monitor": "train.accuracy",
            "baseline": {"end_to_end": baseline("no test") | {"validation": None}},
        },
        "unknown",
        "a train accuracy of 0.9000",
        id="neither validation nor test",
    ),
]


@pytest.mark.parametrize(("changes", "kind", "sentence"), VERDICTS)
def test_the_verdict_agrees_with_the_numbers(
    changes: dict[str, Any], kind: str, sentence: str
) -> None:
    said = verdict(a_history(**changes))
    assert sentence in said.sentence
    assert said.kind == kind


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"), [(0.2, 0.3, "helped"), (0.3, 0.2, "behind"), (0.25, 0.25, "level")]
)
@pytest.mark.parametrize("metric", ["mean_squared_error", "loss", "mean_absolute_error"])
def test_the_verdict_knows_errors_from_scores(
    metric: str, ours: float, theirs: float, kind: str
) -> None:
    history = a_history(
        monitor=f"validation.{metric}",
        test={metric: ours},
        # The worse rival must not be the one compared with.
        baseline={
            "end_to_end": baseline(theirs, metric=metric),
            "shallow": baseline(9.0, metric=metric),
        },
    )
    said = verdict(history)
    assert said.kind == kind
    assert f"the best of 2 baselines, end to end training, reaches {theirs:.4f}" in said.sentence
    assert f"test {metric.replace('_', ' ')} of {ours:.4f}" in said.sentence
    assert ("0.1000 " in said.sentence) == (kind != "level")


def test_chance_is_that_of_a_t_test_between_seeds() -> None:
    """Against SciPy's own test: the difference is just significant at 5% where they agree."""
    ours, theirs = np.array([0.80, 0.83, 0.79, 0.82]), np.array([0.75, 0.77, 0.78, 0.74])
    scores = [score_of(spread(*values.tolist())) for values in (ours, theirs)]
    assert scores[0] is not None
    assert scores[1] is not None
    limit = chance_explains(scores[0], scores[1], "loss", None)
    assert limit is not None
    # As many seeds on both sides: the pooled test's interval.
    shifted = ours - ours.mean() + theirs.mean() + limit
    found = stats.ttest_ind(shifted, theirs, equal_var=True)
    assert found.pvalue == pytest.approx(0.05, abs=1e-6)


def test_chance_is_that_of_two_proportions_between_rows() -> None:
    rows, scores = 500, [score_of(0.8), score_of(0.7)]
    assert scores[0] is not None
    assert scores[1] is not None
    expected = 1.959964 * np.sqrt((0.8 * 0.2 + 0.7 * 0.3) / rows)
    assert chance_explains(scores[0], scores[1], "accuracy", rows) == pytest.approx(expected)
    assert chance_explains(scores[0], scores[1], "loss", rows) is None


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (0.97123, "0.9712"),
        (1, "1.0000"),
        (0.0, "0.0000"),
        (None, "–"),
        (spread(0.49, 0.51), "0.5000 ± 0.0141"),
        (spread(0.5, None), "0.5000 ± 0.0000"),
        (spread(None, None), "–"),
    ],
)
def test_format_metric(metric: Any, text: str) -> None:
    assert format_metric(metric) == text


# Pictures.


def axes() -> Any:
    return Figure().add_subplot()


def lines(ax: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines
    }  # fmt: skip


def test_the_depth_curve_draws_the_history() -> None:
    stages = [a_stage(d, test={"loss": 1, "accuracy": 0.7 + d / 100}) for d in (1, 2, 3)]
    ax = plots.depth_curve(a_history(stages), axes())
    drawn = lines(ax)
    assert list(drawn) == ["train", "validation", "test", "chosen depth 2"]
    assert drawn["train"] == ([1, 2, 3], [0.9, 0.9, 0.9])
    assert drawn["validation"] == ([1, 2, 3], [0.801, 0.802, 0.803])
    assert drawn["test"][1] == pytest.approx([0.71, 0.72, 0.73])
    assert drawn["chosen depth 2"][0] == [2, 2]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("depth (blocks)", "accuracy")
    assert len(ax.collections) == 0, "no bands without replicates"


def test_the_depth_curve_shows_gaps_and_nothing_chosen() -> None:
    history = a_history([a_stage(1), lost_stage(2), a_stage(3)], selected_depth=None)
    drawn = lines(plots.depth_curve(history, axes()))
    assert list(drawn) == ["train", "validation"]
    assert np.isnan(drawn["validation"][1]).tolist() == [False, True, False]


def test_the_depth_curve_shows_the_spread_of_replicates() -> None:
    ax = plots.depth_curve(a_history([rich_stage(1), rich_stage(2)]), axes())
    metric = rich_stage(1)["validation"]["accuracy"]
    assert lines(ax)["validation"][1] == [metric["mean"]] * 2
    heights = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(metric["mean"] - metric["std"])
    assert heights.max() == pytest.approx(metric["mean"] + metric["std"])


def test_learning_curves_run_stage_after_stage() -> None:
    stages = [a_stage(1, epochs=3), a_stage(2, epochs=5), a_stage(3, epochs=2)]
    ax = plots.learning_curves(a_history(stages), "accuracy", axes())
    train, validation = ax.lines
    # A gap after each stage keeps the stages apart.
    gaps = np.flatnonzero(np.isnan(train.get_xdata()))
    assert gaps.tolist() == [3, 9, 12]
    assert train.get_xdata()[4:9].tolist() == [4, 5, 6, 7, 8]
    assert train.get_ydata()[4:9].tolist() == stages[1]["curves"]["accuracy"]
    assert validation.get_ydata()[4:9].tolist() == stages[1]["curves"]["val_accuracy"]
    parts = [segment[0][0] for segment in ax.collections[0].get_segments()]
    assert parts == [3.5, 8.5]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train", "validation"]


def test_learning_curves_leave_gaps_where_training_diverged() -> None:
    curves = {"loss": [0.5, None], "val_loss": [None, None]}
    ax = plots.learning_curves(a_history([a_stage(1, curves=curves)]), "loss", axes())
    # Validation never was finite, so it has no line; the last gap ends the stage.
    assert [np.isnan(line.get_ydata()).tolist() for line in ax.lines] == [[False, True, True]]


POINTS = np.random.default_rng(0).normal(size=(30, 2))
LABELS = np.arange(30) % 3


def test_the_scatter_shows_every_split_and_class() -> None:
    splits = {"train": (POINTS, LABELS), "validation": (POINTS[:9], LABELS[:9])}
    svg = plots.scatter(splits, ["red", "green", "blue"])
    assert svg.startswith("<svg")
    for words in ("train (30 rows)", "validation (9 rows)", "red", "green", "blue", "class"):
        assert re.search(rf">\s*{re.escape(words)}</text>", svg)
    panels = svg[: svg.index('<g id="legend_1">')]
    marks = re.findall(r'<g id="PathCollection_\d+">.*?</g>\s*</g>', panels, re.DOTALL)
    assert sum(mark.count("<use ") for mark in marks) == 30 + 9


@pytest.mark.parametrize("text", ["a & b", "<b>", "--", "]]>", "50 $"])
def test_hostile_classes_are_drawn(text: str) -> None:
    svg = plots.scatter({"train": (POINTS, LABELS)}, [text, "b", "c"])
    Page(svg)
    assert svg.count('<g id="legend_1">') == 1
    assert "<b>" not in svg


@pytest.mark.parametrize("text", ["$\\nope$", "$5 to $6", "_private", "深い"])
def test_classes_that_mean_something_to_matplotlib(text: str) -> None:
    """No mathematics, no hidden label, no warning of a missing letter."""
    svg = plots.scatter({"train": (POINTS, LABELS)}, [text, "b", "c"])
    legend = svg[svg.index('<g id="legend_1">') :]
    assert re.search(rf">\s*{re.escape(text)}</text>", legend)


def drawings() -> dict[str, Callable[[], str]]:
    history = a_history([rich_stage(1), rich_stage(2)])
    return {
        "depth": lambda: plots.to_svg(plots.depth_curve(history)),
        "curves": lambda: plots.to_svg(plots.learning_curves(history, "loss")),
        "scatter": lambda: plots.scatter({"train": (POINTS, LABELS)}, ["a", "b", "c"]),
        "page": lambda: page(history),
    }


@pytest.mark.parametrize(
    "name",
    [
        "depth",
        "curves",
        "page",
        pytest.param(
            "scatter",
        ),
    ],
)
def test_equal_data_give_equal_text(name: str) -> None:
    draw = drawings()[name]
    first = draw()
    assert draw() == first
    assert not re.search(r"\b\d{4}-\d\d-\d\d", first), "no date"


def test_other_data_give_other_text() -> None:
    other = a_history([a_stage(1), a_stage(2, validation={"loss": 1.0, "accuracy": 0.1})])
    first, second = (plots.to_svg(plots.depth_curve(h)) for h in (a_history(), other))
    assert first != second
