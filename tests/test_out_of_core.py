"""Data larger than the memory limit: the same rows in the same order, and the same bits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import numpy as np
import pytest

from layerwise.datasets import Split
from layerwise.engine import Engine, Watch, make_engine, order
from layerwise.engine import _order as deals
from layerwise.engine._allotment import state_bytes
from layerwise.errors import InputError
from stages import BATCH, BLOCKS, ROWS, Block, problem, weights_of
from test_resume import Notes, through_a_file

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="compares the JAX engine")

ignore = Watch()


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three rows of 28 bytes, groups of five chunks: small data have several of both."""
    monkeypatch.setattr(deals, "CHUNK_BYTES", 84)
    monkeypatch.setattr(deals, "GROUP_BYTES", 420)


# --- the order


def test_small_data_are_permuted_as_a_whole() -> None:
    """As they always were: what is below a group does not depend on the bytes of a row."""
    expected = np.random.Generator(np.random.Philox(key=(7 << 32) | 3)).permutation(50)
    for size in (0, 1, 1000):
        np.testing.assert_array_equal(order(7, 3, 50, size), expected)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("rows", [1, 16, 43, 44, 45, 200])
def test_large_data_are_dealt_in_two_levels(rows: int) -> None:
    """Chunk after chunk in the order of a permutation, and mixed within each group alone."""
    seen = order(5, 2, rows, 28)
    assert sorted(seen.tolist()) == list(range(rows))
    if rows * 28 <= 420:
        return
    edges = deals.EpochOrder(5, 2, rows, 28)._edges
    groups = [seen[a:b] for a, b in itertools.pairwise(edges)]
    assert max(map(len, groups)) <= 15
    assert max(map(len, groups)) - min(map(len, groups)) <= 5, "about equally large"
    chunks = [{row // 3 for row in group.tolist()} for group in groups]
    assert all(not (a & b) for i, a in enumerate(chunks) for b in chunks[:i]), "no chunk is torn"
    assert any(sorted(g.tolist()) != g.tolist() for g in groups)
    assert not np.array_equal(seen, order(5, 3, rows, 28))
    assert not np.array_equal(seen, order(6, 2, rows, 28))
    np.testing.assert_array_equal(seen, order(5, 2, rows, 28))


@pytest.mark.usefixtures("small_groups")
def test_any_part_of_an_order_can_be_drawn_alone() -> None:
    whole = order(5, 2, 200, 28)
    for start, stop in [(0, 1), (7, 120), (150, 200), (199, 200), (30, 31)]:
        part = deals.EpochOrder(5, 2, 200, 28).take(start, stop)
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.usefixtures("small_groups")
def test_each_row_comes_to_every_place() -> None:
    """Over many epochs the first place holds each row about equally often."""
    first = np.array([order(1, epoch, 60, 28)[0] for epoch in range(3000)])
    counts = np.bincount(first, minlength=60)
    # 50 expected, and a standard deviation of 7: five of them.
    assert counts.min() > 15
    assert counts.max() < 85


# --- the engine


@on_jax
def test_what_a_training_holds_beside_its_rows() -> None:
    """Adam has two more numbers a weight; all that is there twice, and the gradients."""
    stage = problem(BLOCKS[0])
    weights = 4 * sum(math.prod(v.shape) for v in stage.model.trainable_variables)
    few = 256  # Metrics, random states, the number of the step and the rate.
    assert 0 <= state_bytes(stage) - (2 * 3 + 1) * weights < few


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    return {"compiled": make_engine("compiled"), "fit": make_engine("fit")}


def streaming(stage: Any, monkeypatch: pytest.MonkeyPatch, batches: int = 1) -> Engine:
    """An engine whose limit allows this stage so many batches at a time, and not all rows."""
    size = batches * BATCH * deals.row_bytes(stage.train)
    for place in ("_allotment", "_rows", "_compiled"):
        monkeypatch.setattr(f"layerwise.engine.{place}.piece_bytes", lambda *_: size)
    return make_engine("compiled", limit=1)


def assert_same_bits(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def _pair(block: Block, objective: str = "classes", weights: bool = False) -> Any:
    quick = block.name == "dropout-norm" or objective in ("forward-forward", "reconstruct-inputs")
    marks = [] if quick else [pytest.mark.slow]
    return pytest.param(block, objective, weights, marks=marks, id=f"{block}-{objective}")


PAIRS = [
    *(_pair(block, weights=True) for block in BLOCKS if block.name != "code"),
    *(_pair(BLOCKS[0], name) for name in ("values", "reconstruct-inputs", "forward-forward")),
    *(_pair(BLOCKS[-1], name) for name in ("rbm-persistent", "mixed")),
]


@on_jax
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(("block", "objective", "weights"), PAIRS)
def test_streamed_rows_give_the_same_bits(
    engines: dict[str, Engine],
    monkeypatch: pytest.MonkeyPatch,
    block: Block,
    objective: str,
    weights: bool,
) -> None:
    """Weights, statistics, curves and scores; with weights, views, targets, a partial batch."""
    results = []
    for streamed in (False, True):
        stage = problem(block, objective, epochs=3, weights=weights)
        with monkeypatch.context() as patch:
            engine = streaming(stage, patch, 2) if streamed else engines["compiled"]
            curves = engine.train(stage, ignore).curves
            scores = engine.evaluate(stage, stage.train)
        results.append((weights_of(stage), curves, scores))
    assert_same_bits(results[1][0], results[0][0])
    # The same sums in two programs, of which XLA may fuse the last division in another way.
    for ours, theirs in zip(results[1][1:], results[0][1:], strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert values == pytest.approx(theirs[name], rel=1e-6), name


@on_jax
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("batches", [1, 100])
def test_the_size_of_a_piece_changes_nothing(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    """Nor do callbacks, after which the weights go through the layers."""
    ends = []
    for streamed in (False, True):
        callbacks = [keras.callbacks.Callback()] if streamed else []
        stage = problem(BLOCKS[2], epochs=3, callbacks=callbacks)
        with monkeypatch.context() as patch:
            engine = streaming(stage, patch, batches) if streamed else engines["compiled"]
            engine.train(stage, ignore)
        ends.append(weights_of(stage))
    assert_same_bits(*ends)


@on_jax
@pytest.mark.usefixtures("small_groups")
def test_both_engines_take_the_same_order(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance is that of the comparison without a limit, 8 units in the last place."""
    ends = []
    for name in ("streamed", "fit"):
        stage = problem(BLOCKS[2], epochs=3, weights=True)
        with monkeypatch.context() as patch:
            engine = engines["fit"] if name == "fit" else streaming(stage, patch)
            engine.train(stage, ignore)
        ends.append(weights_of(stage))
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=8 * float(np.finfo("float32").eps))


@on_jax
@pytest.mark.usefixtures("small_groups")
def test_a_snapshot_goes_on_under_any_limit(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From every step of a streamed stage, streamed in other pieces or all at once."""
    monkeypatch.setattr("layerwise.engine._session._CALL_SECONDS", 0.0)
    whole, watch = problem(BLOCKS[2], epochs=2), Notes()
    with monkeypatch.context() as patch:
        streaming(whole, patch, 2).train(whole, watch)
    steps = -(-ROWS // BATCH)
    assert len(watch.taken) == 2 * steps
    for number, snapshot in enumerate(watch.taken):
        again = problem(BLOCKS[2], epochs=2)
        with monkeypatch.context() as patch:
            engine = streaming(again, patch) if number % 2 else engines["compiled"]
            engine.train(again, Notes(through_a_file(snapshot)))
        assert_same_bits(weights_of(again), weights_of(whole))


@on_jax
def test_rows_on_disk_and_in_memory_are_read_alike(
    engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A mapped file, a view on a part of it, another type, and rows that are not contiguous."""
    stage = problem(BLOCKS[0])
    x = stage.train.x
    np.save(tmp_path / "x.npy", np.concatenate([x, x]))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ends = []
    for rows in (x, mapped[:ROWS], mapped[ROWS:], np.asfortranarray(x)):
        stage = problem(BLOCKS[0])
        object.__setattr__(stage, "train", Split(rows, stage.train.y))
        with monkeypatch.context() as patch:
            streaming(stage, patch).train(stage, ignore)
        ends.append(weights_of(stage))
    for other in ends[1:]:
        assert_same_bits(other, ends[0])


@on_jax
def test_what_reads_fails_in_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not in a thread, where nobody would hear of it."""
    stage = problem(BLOCKS[0], epochs=5)
    engine = streaming(stage, monkeypatch)

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("layerwise.engine._reader.np.take", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        engine.train(stage, ignore)


@on_jax
@pytest.mark.parametrize("where", ["train", "evaluate"])
def test_a_limit_below_the_least_names_what_is_needed(where: str) -> None:
    """And with what it names the stage trains, streamed."""
    stage = problem(BLOCKS[0])
    with pytest.raises(
        InputError, match=r"`memory_limit` is 100 bytes, and .* needs (\d+)MB"
    ) as caught:
        _start(where, make_engine("compiled", 100), stage)
    assert "16 rows" in str(caught.value)
    _start(where, make_engine("compiled", 1_000_000), stage)


def _start(where: str, engine: Engine, stage: Any) -> None:
    if where == "train":
        engine.train(stage, ignore)
    else:
        engine.evaluate(stage, stage.train)


@on_jax
def test_a_limit_chooses_between_all_rows_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.engine._allotment import piece_bytes, state_bytes

    stage = problem(BLOCKS[0])
    many = stage.train.take(np.arange(1000) % ROWS)
    rows, batch = 1000 * deals.row_bytes(many), BATCH * deals.row_bytes(many)
    held = state_bytes(stage)
    assert piece_bytes(stage, None, many) is None
    assert piece_bytes(stage, 2 * (held + rows), many) is None
    assert piece_bytes(stage, 2 * (held + rows) - 2, many) == (rows - 1 - 8 * 1000) // 4
    least = 2 * (held + 8 * 1000 + 4 * batch)
    assert piece_bytes(stage, least, many) == batch
    with pytest.raises(InputError):
        piece_bytes(stage, least - 2, many)
    monkeypatch.setattr("layerwise.engine._allotment.PIECE_BYTES", 2 * batch)
    assert piece_bytes(stage, 2 * (held + rows) - 2, many) == 2 * batch
