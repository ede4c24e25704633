"""Features: equal wherever they lie, found again, never stale, and never damaged unnoticed."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest

import layerwise
from layerwise import files, signals
from layerwise.datasets import Dataset, Split
from layerwise.errors import DiskFullError, InputError, InputTypeError
from layerwise.features import Disk, Features, Memory, Store
from layerwise.growth import digest

_FEATURES, _ENTRY = "layerwise.features._features", "layerwise.features._entry"


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """To the bit: shape, type, and bytes, so that NaN equals NaN and 0 differs from -0."""
    return (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def put(store: Store, key: str, array: np.ndarray, chunk: int = 7) -> np.ndarray:
    chunks = (array[i : i + chunk] for i in range(0, len(array), chunk))
    return store.put(key, array.shape, array.dtype, chunks)


def splits_of(rows: int, shape: tuple[int, ...] = (5,)) -> dict[str, Split]:
    counts = {"train": rows, "validation": max(1, rows // 3), "test": max(1, rows // 2)}
    return {name: Split(numbers(n, *shape, seed=n)) for name, n in counts.items()}


def never(batch):
    raise AssertionError("nothing was to be computed")


@pytest.fixture
def small_chunks(monkeypatch):
    """Few rows at a time, and few bytes a hash, so that small data have many of both."""
    monkeypatch.setattr("layerwise.features._chunks.CHUNK_BYTES", 1 << 10)
    monkeypatch.setattr(f"{_ENTRY}.BLOCK", 1000)


# --- both stores alike


@pytest.mark.parametrize("rows", [1, 7, 101])
@pytest.mark.parametrize("shape", [(), (5,), (3, 2, 4)], ids=str)
@pytest.mark.parametrize(
    "dtype",
    [*("float32", "float16", "float64", "int32", "uint8", "bool"), ml_dtypes.bfloat16],
    ids=lambda dtype: np.dtype(dtype).name,
)
@pytest.mark.usefixtures("small_chunks")
def test_disk_and_memory_hold_what_the_block_gives(tmp_path, rows, shape, dtype):
    splits, calls = splits_of(rows, (4, *shape)), []

    def forward(batch):
        calls.append(len(batch))
        return (3 * batch[:, 0] + 1).astype(dtype)

    stores = {"memory": Memory(), "disk": Disk(tmp_path)}
    results = {name: Features(splits, store, "data") for name, store in stores.items()}
    for features in results.values():
        features.advance(forward, shape, "block")
        assert (features.passed.depth, len(set(calls))) == (1, 1), (
            "one compiled program does for all"
        )
    for name, split in splits.items():
        expected = (3 * split.x[:, 0] + 1).astype(dtype)
        assert same(results["memory"][name].x, expected)
        assert same(results["disk"][name].x, expected)
        assert results["memory"][name].x.ctypes.data % 64 == 0
        assert results["disk"][name].x.ctypes.data % 64 == 0
        assert not results["disk"][name].x.flags.writeable


@pytest.mark.usefixtures("small_chunks")
def test_features_pass_block_after_block_and_the_ones_before_go(tmp_path):
    splits = splits_of(60)
    kept, folder = splits["train"].x.copy(), tmp_path / "features"
    features = Features(splits, Disk(folder), "data")
    for depth in range(1, 4):
        features.advance(lambda batch: 2 * batch, (5,), f"block {depth}")
        np.testing.assert_array_equal(features["train"].x, 2**depth * kept)
        assert len(names_in(folder)) == len(splits), "only those of the newest block"
    np.testing.assert_array_equal(splits["train"].x, kept)


def test_labels_and_weights_stay():
    split = Split(numbers(6, 2), np.arange(6), np.ones(6, "float32"))
    features = Features({"train": split})
    features.advance(lambda batch: batch[:, :1], (1,))
    assert features["train"].y is split.y
    assert features["train"].sample_weight is split.sample_weight


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_features_can_be_stored_in_another_type(tmp_path, dtype):
    splits = splits_of(20)
    for store in (Memory(), Disk(tmp_path)):
        features = Features(splits, store, "data")
        features.advance(np.exp, (5,), "block", dtype=dtype)
        assert same(features["train"].x, np.exp(splits["train"].x).astype(dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.usefixtures("small_chunks")
def test_one_number_that_is_not_finite_shows(tmp_path, bad, name):
    splits = splits_of(90)
    victim = splits[name].x[-1, 2]

    def forward(batch):
        return np.where(batch == victim, np.float32(bad), batch)

    for store in (Memory(), Disk(tmp_path)):
        features = Features(splits, store, "data")
        assert features.finite, "raw data were checked when they were read"
        features.advance(np.tanh, (5,), "fine")
        assert features.finite
        features = Features(splits, store, "data")
        features.advance(forward, (5,), "bad")
        assert not features.finite
    found = Features(splits, Disk(tmp_path), "data")
    found.advance(never, (5,), "bad")
    assert not found.finite, "the manifest carries it"


def test_a_number_too_large_for_the_type_is_not_finite(tmp_path):
    features = Features(splits_of(20), Disk(tmp_path), "data")
    features.advance(lambda batch: 1e6 + batch, (5,), "block", dtype="float16")
    assert not features.finite


# --- found again, and never stale


@pytest.mark.usefixtures("small_chunks")
def test_another_process_finds_them_and_computes_nothing(tmp_path):
    splits = splits_of(60)
    first = Features(splits, Disk(tmp_path), "data")
    first.advance(np.tanh, (5,), "block")
    second = Features(splits, Disk(tmp_path), "data")
    second.advance(never, (5,), "block")
    for name in splits:
        assert same(second[name].x, first[name].x)
    assert second.passed.depth == 1


@pytest.mark.parametrize("known", [{"origin": ""}, {"block": ""}], ids=["data", "block"])
def test_what_is_not_told_apart_is_never_found(tmp_path, known):
    for shift in (0, 1):
        features = Features(splits_of(9), Disk(tmp_path), known.get("origin", "data"))
        features.advance(lambda batch, n=shift: batch + n, (5,), known.get("block", "block"))
        np.testing.assert_array_equal(features["train"].x, splits_of(9)["train"].x + shift)


def test_an_entry_that_does_not_fit_the_block_is_not_used(tmp_path):
    """A digest that forgets something must not bring features of another shape."""
    splits = splits_of(9)
    Features(splits, Disk(tmp_path), "data").advance(lambda batch: batch[:, :2], (2,), "block")
    features = Features(splits, Disk(tmp_path), "data")
    features.advance(lambda batch: batch[:, :3], (3,), "block")
    np.testing.assert_array_equal(features["train"].x, splits["train"].x[:, :3])


def test_only_what_is_missing_is_computed_after_an_interruption(tmp_path):
    splits, seen = splits_of(60), []

    def forward(batch):
        seen.append(len(batch))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return 2 * batch

    features = Features(splits, Disk(tmp_path), "data")
    with pytest.raises(KeyboardInterrupt):
        features.advance(forward, (5,), "block")
    assert features.passed.depth == 0
    assert features["train"].x is splits["train"].x
    assert len(names_in(tmp_path)) == 1, "one split is done, nothing is half done"
    again = Features(splits, Disk(tmp_path), "data")
    again.advance(forward, (5,), "block")
    assert len(seen) == 2 + 2, "validation and test"
    np.testing.assert_array_equal(again["train"].x, 2 * splits["train"].x)


@pytest.mark.usefixtures("small_chunks")
def test_a_request_to_stop_is_heard_between_chunks(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(signals, "_asked", asked)

    def forward(batch):
        asked.append(15)
        return batch

    with pytest.raises(signals.Stopped):
        Features(splits_of(200), Disk(tmp_path), "data").advance(forward, (5,), "block")
    assert asked == [15]
    assert names_in(tmp_path) == []


def test_a_resume_goes_to_the_deepest_features_that_are_whole(tmp_path):
    splits = splits_of(30)
    first = Features(splits, Disk(tmp_path), "data")
    for block in "abc":
        first.advance(lambda batch: 2 * batch, (5,), block)
    results = [2 * first["train"].x]
    with pytest.raises(IndexError):
        first.advance(lambda batch: results.pop(), (5,), "d")
    second = Features(splits, Disk(tmp_path), "data")
    assert second.recall(["x", "y"]) == 0
    assert second.passed.depth == 0
    assert second.recall([*"abcd"]) == 3
    assert second.passed.depth == 3
    np.testing.assert_array_equal(second["test"].x, 8 * splits["test"].x)
    second.advance(lambda batch: 2 * batch, (5,), "d")
    third = Features(splits, Disk(tmp_path), "data")
    third.recall([*"abcd"])
    np.testing.assert_array_equal(third["train"].x, 16 * splits["train"].x)
    assert Features(splits, origin="data").recall([*"abcd"]) == 0, "memory forgets"


class _Keeping:
    """A store that writes down which keys were asked for, and drops nothing."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.asked = disk, []

    def get(self, key):
        self.asked.append(key)
        return self.disk.get(key)

    def put(self, key, shape, dtype, chunks):
        return self.disk.put(key, shape, dtype, chunks)

    def finite(self, key):
        return self.disk.finite(key)

    def drop(self, key):
        pass


def _grown(store, data, blocks, dtype=None, rename=lambda name: name):
    """The features behind real layers, whose outputs NumPy computes; and the last keys."""
    splits = {rename(name): split for name, split in data.splits.items()}
    features, expected = Features(splits, store, data.fingerprint), data.test.x
    for block in blocks:
        kernel, bias = (np.asarray(v) for v in block.weights)
        features.advance(lambda x, k=kernel, b=bias: x @ k + b, (4,), digest(block), dtype=dtype)
        expected = (expected @ kernel + bias).astype(dtype or "float32")
    return features[rename("test")].x, expected, store.asked[-len(splits) :]


def _mutations(data, blocks, monkeypatch):
    """200 changes of one thing each: a name, and what `_grown` then gets."""
    rng = random.Random(5)
    places = list(itertools.product(data.splits, range(24), range(23)))
    for i, (name, at, bit) in enumerate(rng.sample(places, 60)):
        arrays = {n: (s.x.copy(), s.y) for n, s in data.splits.items()}
        flat = arrays[name][0].reshape(-1).view("uint32")
        flat[at] ^= np.uint32(1 << bit)
        yield f"data {i}", [_data(arrays), blocks], {}
    places = list(itertools.product(blocks, [(0, 16), (1, 4)], range(23)))
    for i, (block, (variable, size), bit) in enumerate(rng.sample(places, 60)):
        before = [np.asarray(v) for v in block.weights]
        after = [v.copy() for v in before]
        flat = after[variable].reshape(-1).view("uint32")
        flat[rng.randrange(size)] ^= np.uint32(1 << bit)
        block.set_weights(after)
        yield f"weight {i}", [data, blocks], {}
        block.set_weights(before)
    for dtype in ("float16", "bfloat16", "float64", "float32"):
        yield f"dtype {dtype}", [data, blocks], {"dtype": dtype}
    import jax

    for module, i in itertools.product((layerwise, keras, jax), range(6)):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", f"{module.__version__}.{i}")
            yield f"version {module.__name__} {i}", [data, blocks], {}
    for order in itertools.permutations(blocks):
        if list(order) != blocks:
            yield "order", [data, list(order)], {}
    for n in (1, 2, 3):
        for chain in itertools.product(blocks, repeat=n):
            if len(set(map(id, chain))) < n or n < 3:
                yield "other blocks", [data, list(chain)], {}
    for i in range(20):
        rename = lambda name, i=i: name if name == "train" else f"{name}{i}"  # noqa: E731
        yield f"split {i}", [data, blocks], {"rename": rename}


def _data(arrays):
    y = arrays["train"][1]
    return Dataset.from_arrays(
        arrays["train"][0],
        y,
        validation_data=arrays["validation"],
        test_data=arrays["test"],
    )


def test_200_changes_of_one_thing_each_and_none_is_stale(tmp_path, monkeypatch):
    arrays = {
        name: (numbers(6, 4, seed=i), np.array([0, 1] * 3))
        for i, name in enumerate(("train", "validation", "test"))
    }
    data = _data(arrays)
    blocks = [keras.layers.Dense(4, bias_initializer="normal") for _ in range(3)]
    for block in blocks:
        block.build((None, 4))
    store = _Keeping(Disk(tmp_path))
    features, expected, keys = _grown(store, data, blocks)
    assert same(features, expected)
    assert _grown(_Keeping(Disk(tmp_path)), data, blocks)[2] == keys, "nothing changed: found"

    known, count = set(keys), 0
    for name, arguments, options in _mutations(data, blocks, monkeypatch):
        features, expected, keys = _grown(store, *arguments, **options)
        # One split keeps its name in the renamed ones, and its features are the same ones.
        fresh = [key for key in keys if key not in known]
        assert len(fresh) == (2 if name.startswith("split") else 3), name
        known |= set(fresh)
        assert same(features, expected), name
        count += 1
    assert count == 200


def test_the_backend_is_among_what_the_key_says(tmp_path, monkeypatch):
    store = _Keeping(Disk(tmp_path))
    features = Features(splits_of(9), store, "data")
    features.recall(["block"])
    import jax

    monkeypatch.setattr(keras.backend, "backend", lambda: "other")
    monkeypatch.setitem(sys.modules, "other", jax)
    features.recall(["block"])
    assert store.asked[0] != store.asked[-1]
    assert len(set(store.asked)) == len(store.asked)


# --- damage


@pytest.fixture
def entry(tmp_path, monkeypatch) -> tuple[Path, str, np.ndarray]:
    """100 kB under a key, many bytes of the manifest being hashes."""
    monkeypatch.setattr(f"{_ENTRY}.BLOCK", 10_000)
    folder, key, array = tmp_path / "cache", key_of(1), numbers(250, 100)
    put(Disk(folder), key, array)
    assert sorted(names_in(folder / key)) == ["features.bin", "manifest.json"]
    return folder, key, array


def assert_rebuilt(entry) -> None:
    """The damage was found, nothing of it is left, and what is put anew is good."""
    folder, key, array = entry
    disk = Disk(folder)
    assert disk.get(key) is None
    assert names_in(folder) == []
    assert same(put(disk, key, array), array)
    found = Disk(folder).get(key)
    assert found is not None
    assert same(found, array)


def test_150_flipped_bits_are_all_found(entry):
    folder, key, _ = entry
    rng = random.Random(1)
    for i in range(150):
        path = folder / key / ("features.bin", "manifest.json")[i % 2]
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        assert_rebuilt(entry)


def test_30_truncations_are_all_found(entry):
    folder, key, _ = entry
    rng = random.Random(2)
    for i in range(30):
        path = folder / key / ("features.bin", "manifest.json")[i % 2]
        os.truncate(path, rng.choice([0, 1, 10_000, rng.randrange(100_000)]) % path.stat().st_size)
        assert_rebuilt(entry)


def _forged(**changes):
    """A manifest that vouches for itself, and says what cannot be."""

    def damage(path: Path) -> None:
        facts = json.loads((path / "manifest.json").read_text())
        facts.pop("sha256")
        facts.update(changes)
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        text = json.dumps({**facts, "sha256": digest}, indent=1) + "\n"
        (path / "manifest.json").write_text(text)

    return damage


def _linked(name: str):
    def damage(path: Path) -> None:
        outside = path.parent.parent / f"outside {name}"
        (path / name).rename(outside)
        (path / name).symlink_to(outside)

    return damage


def _folder_linked(path: Path) -> None:
    outside = path.parent.parent / "outside folder"
    path.rename(outside)
    path.symlink_to(outside)


def _pipe(name: str):
    def damage(path: Path) -> None:
        (path / name).unlink()
        os.mkfifo(path / name)

    return damage


def _instead(path: Path) -> None:
    files.remove(path)
    path.write_text("a file")


def _of_another_key(path: Path) -> None:
    other = path.parent / key_of(2)
    put(Disk(path.parent), key_of(2), numbers(250, 100, seed=9))
    files.remove(path)
    other.rename(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "features.bin").unlink(),
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text("[" * 100_000),
        lambda path: (path / "manifest.json").write_text("null"),
        lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe"),
        lambda path: (path / "features.bin").write_bytes(bytes(100_001)),
        _forged(format=2),
        _forged(byte_order="middle"),
        _forged(chunk_bytes=1 << 20),
        _forged(dtype="object"),
        _forged(dtype=["float32"]),
        _forged(shape=[-250, -100]),
        _forged(shape=[True, 25000]),
        _forged(shape=[10**30, 100]),
        _forged(shape=[0, 10**30], chunks=[]),
        _forged(finite=1),
        _forged(chunks=[]),
        _linked("features.bin"),
        _linked("manifest.json"),
        _folder_linked,
        _pipe("features.bin"),
        _pipe("manifest.json"),
        _instead,
        _of_another_key,
    ],
)
def test_whatever_else_is_wrong_is_found(entry, damage):
    folder, key, _ = entry
    damage(folder / key)
    assert_rebuilt(entry)
    for outside in folder.parent.glob("outside*"):
        assert outside.exists(), "what a link leads to is not ours to remove"


def test_a_manifest_is_read_only_up_to_a_limit(entry, monkeypatch):
    monkeypatch.setattr(f"{_ENTRY}._MOST_MANIFEST", 100)
    folder, key, _ = entry
    assert Disk(folder).get(key) is None


def test_a_disk_that_cannot_be_read_is_damage(entry, monkeypatch):
    folder, key, _ = entry

    def fail(stream, block):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(f"{_ENTRY}._fill", fail)
    assert Disk(folder).get(key) is None
    assert names_in(folder) == []


# --- many processes


_RACE = """
import os, random, sys
import numpy as np
from pathlib import Path
from layerwise.features import Disk

folder, processes, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
keys = [f"{n:064x}" for n in range(4)]

def content(key):
    return np.random.default_rng(int(key, 16)).standard_normal((900, 11))

def work(number):
    rng, log = random.Random(number), {"found": 0, "none": 0}
    for _ in range(rounds):
        disk, key = Disk(folder), rng.choice(keys)
        expected = content(key)
        found = disk.get(key)
        log["none" if found is None else "found"] += 1
        if found is None:
            chunks = (expected[i : i + 50] for i in range(0, 900, 50))
            found = disk.put(key, expected.shape, expected.dtype, chunks)
        if rng.random() < 0.4:
            disk.drop(key)
        assert found.tobytes() == expected.tobytes()
    os.write(1, f"{log['found']} {log['none']}\\n".encode())  # In one piece, unlike print.

children = []
for number in range(processes):
    child = os.fork()
    if not child:
        try:
            work(number)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize(
    ("processes", "rounds"),
    [(4, 15), pytest.param(8, 100, marks=pytest.mark.faults)],
)
def test_no_race_corrupts_anything(tmp_path, processes, rounds):
    folder = tmp_path / "cache"
    # A warning of JAX about threads and forking is beside the point: no child uses JAX.
    command = [sys.executable, "-c", _RACE, folder, processes, rounds]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found, none = np.loadtxt(done.stdout.splitlines(), dtype=int).sum(axis=0)
    assert found + none == processes * rounds
    assert min(found, none) > 0, "they met"
    for name in names_in(folder):
        array = Disk(folder).get(name)
        expected = np.random.default_rng(int(name, 16)).standard_normal((900, 11))
        assert array is not None
        assert same(array, expected)


def test_who_was_first_is_used(tmp_path):
    """And not replaced: another may have mapped it."""
    key, array = key_of(1), numbers(20, 3)
    disk, path = Disk(tmp_path), tmp_path / key

    def chunks():
        yield array[:10]
        put(Disk(tmp_path), key, array)
        inodes.append((path / "features.bin").stat().st_ino)
        yield array[10:]

    inodes: list[int] = []
    assert same(disk.put(key, array.shape, array.dtype, chunks()), array)
    assert inodes == [(path / "features.bin").stat().st_ino]
    assert names_in(tmp_path) == [key]


def test_who_was_first_and_wrote_rubbish_is_not_used(tmp_path):
    key, array = key_of(1), numbers(20, 3)

    def chunks():
        yield array[:10]
        put(Disk(tmp_path), key, array)
        (tmp_path / key / "features.bin").write_bytes(bytes(array.nbytes))
        yield array[10:]

    assert same(Disk(tmp_path).put(key, array.shape, array.dtype, chunks()), array)
    assert names_in(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep files that are mapped")
def test_what_is_mapped_stays_valid_while_another_process_removes_it(tmp_path):
    key, array = key_of(1), numbers(3000, 100)
    mapped = [put(Disk(tmp_path), key, array), Disk(tmp_path).get(key)]
    drop = f"from layerwise.features import Disk; Disk({str(tmp_path)!r}).drop({key!r})"
    subprocess.run([sys.executable, "-c", drop], check=True, timeout=100)
    assert names_in(tmp_path) == []
    for one in mapped:
        assert same(one, array)
    assert same(put(Disk(tmp_path), key, -array), -array)
    assert same(mapped[0], array)


# --- room


def _entries(disk: Disk, folder: Path, *ns: int) -> None:
    """Entries of 4,000 bytes, the first used longest ago."""
    for age, n in enumerate(reversed(ns)):
        put(disk, key_of(n), numbers(10, 100, seed=n))
        moment = time.time() - 100 * (age + 1)
        os.utime(folder / key_of(n), (moment, moment))


def test_what_was_used_longest_ago_makes_way(tmp_path):
    folder = tmp_path / "cache"
    _entries(Disk(folder), folder, 1, 2, 3)
    disk = Disk(folder, limit=16_000)
    assert disk.get(key_of(1)) is not None
    Disk(folder).get(key_of(2))
    put(disk, key_of(4), numbers(10, 100))
    assert names_in(folder) == sorted(map(key_of, [1, 2, 4])), "3 was used before 1 and 2"
    put(disk, key_of(5), numbers(10, 100))
    assert names_in(folder) == sorted(map(key_of, [1, 4, 5])), "2 is not in use here"


def test_what_is_in_use_does_not_make_way(tmp_path):
    disk = Disk(tmp_path, limit=16_000)
    put(Disk(tmp_path), key_of(0), numbers(10, 100))
    _entries(disk, tmp_path, 1, 2)
    with pytest.raises(InputError, match=r"`cache_limit` allows 16,000 bytes, and 19,\d{3} are"):
        put(disk, key_of(3), numbers(25, 100))
    assert names_in(tmp_path) == sorted(map(key_of, [0, 1, 2])), "nothing is removed in vain"
    disk.drop(key_of(1))
    disk.drop(key_of(2))
    with pytest.raises(InputError, match="`cache_limit` allows 16,000 bytes, and 17,104 are"):
        put(disk, key_of(3), numbers(40, 100))
    put(disk, key_of(3), numbers(35, 100))
    assert names_in(tmp_path) == [key_of(3)]


def test_what_is_not_ours_is_left_alone(tmp_path):
    stranger = tmp_path / key_of(9)
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("years of work" * 1000)
    (tmp_path / "thesis.txt").write_text("years of work" * 1000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "features.bin").write_bytes(bytes(5_000))
    (tmp_path / key_of(8)).symlink_to(tmp_path / "folder")
    disk = Disk(tmp_path, limit=6_000)
    put(disk, key_of(1), numbers(10, 100))
    disk.drop(key_of(1))
    put(disk, key_of(2), numbers(10, 100))
    disk.close()
    assert names_in(tmp_path) == sorted([key_of(9), key_of(8), "thesis.txt", "folder"])
    assert names_in(stranger) == ["thesis.txt"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_above_0(tmp_path, limit):
    with pytest.raises(InputError, match="`cache_limit` must be a number of bytes above 0"):
        Disk(tmp_path, limit)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Disk(tmp_path / "file" / "cache")


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_a_hash_is_a_key(tmp_path, key):
    for use in (
        Disk(tmp_path).get,
        Disk(tmp_path).drop,
        lambda k: put(Disk(tmp_path), k, numbers(1)),
    ):
        with pytest.raises(InputError, match="must be a SHA-256 in hex"):
            use(key)


def test_types_without_plain_bytes_are_refused(tmp_path):
    with pytest.raises(InputTypeError, match="type object cannot be kept on disk"):
        put(Disk(tmp_path), key_of(1), np.array([{}, []], object))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("rows", [19, 21])
def test_chunks_that_are_not_the_array_are_refused(tmp_path, rows):
    with pytest.raises(InputError, match=r"was to have 240 bytes, and \d+ came"):
        Disk(tmp_path).put(key_of(1), (20, 3), np.dtype("float32"), iter([numbers(rows, 3)]))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "array", [numbers(5, 0), numbers(2, 3).astype(">f4")], ids=["empty", "big"]
)
def test_odd_arrays_come_back_equal(tmp_path, array):
    put(Disk(tmp_path), key_of(1), array)
    found = Disk(tmp_path).get(key_of(1))
    assert found is not None
    assert found.dtype.isnative
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    disk, asked = Disk(tmp_path), []
    put(disk, key_of(1), numbers(10, 100))

    def full(descriptor, offset, size):
        asked.append(size)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files._system.os, "posix_fallocate", full)
    with pytest.raises(DiskFullError, match=r"5,104 bytes are needed") as caught:
        put(disk, key_of(2), numbers(10, 100))
    assert str(tmp_path) in str(caught.value)
    assert asked == [4000], "the room of all rows is asked for first"
    assert names_in(tmp_path) == [key_of(1)]
    assert same(Disk(tmp_path).get(key_of(1)), numbers(10, 100))


@pytest.mark.parametrize("call", ["make_folder", "write_new", "replace"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_disk_that_fills_at_any_call_leaves_nothing_half_done(tmp_path, monkeypatch, call, nth):
    disk, count = Disk(tmp_path), itertools.count(1)
    put(disk, key_of(1), numbers(10, 100))
    real = getattr(files._system, call)

    def full(*arguments):
        if next(count) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(files._system, call, full)
    if nth == 1 or call == "write_new":
        with pytest.raises(DiskFullError, match="5,104 bytes are needed"):
            put(disk, key_of(2), numbers(10, 100))
        assert names_in(tmp_path) == [key_of(1)]
    assert same(put(disk, key_of(3), numbers(10, 100)), numbers(10, 100))


def test_another_failure_of_the_disk_keeps_its_name(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files._system, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        put(Disk(tmp_path), key_of(1), numbers(10, 100))
    assert names_in(tmp_path) == []


# --- what stays behind


def test_nothing_is_left_after_the_end_of_a_run(tmp_path):
    splits = splits_of(30)
    Features(splits, Disk(tmp_path), "data").advance(np.tanh, (5,), "a")
    disk = Disk(tmp_path)
    features = Features(splits, disk, "data")
    features.advance(never, (5,), "a")
    features.advance(np.tanh, (5,), "b")
    assert len(names_in(tmp_path)) == 3, "a run that is interrupted here is found again"
    disk.close()
    assert names_in(tmp_path) == []
    np.testing.assert_array_equal(features["test"].x, np.tanh(np.tanh(splits["test"].x)))
    disk.close()


def test_a_run_leaves_what_is_not_its_own(tmp_path):
    put(Disk(tmp_path), key_of(1), numbers(3))
    disk = Disk(tmp_path)
    put(disk, key_of(2), numbers(3))
    disk.close()
    assert names_in(tmp_path) == [key_of(1)]


def test_only_old_leftovers_are_removed(tmp_path):
    for name in ("old", "new", "at-work"):
        folder = tmp_path / f"{files.TEMPORARY_PREFIX}{name}"
        folder.mkdir()
        (folder / "features.bin").write_bytes(b"half")
        if name != "new":
            os.utime(folder, (time.time() - 4000,) * 2)
    os.utime(tmp_path / f"{files.TEMPORARY_PREFIX}old" / "features.bin", (time.time() - 4000,) * 2)
    Disk(tmp_path)
    assert names_in(tmp_path) == sorted(files.TEMPORARY_PREFIX + n for n in ("new", "at-work"))


@pytest.mark.parametrize("lost", [FileNotFoundError, PermissionError])
def test_a_lost_race_to_remove_is_no_error(tmp_path, monkeypatch, lost):
    disk = Disk(tmp_path)
    put(disk, key_of(1), numbers(3))

    def fail(*arguments):
        raise lost

    for call in ("remove", "touch"):
        monkeypatch.setattr(files._system, call, fail)
    assert disk.get(key_of(1)) is not None
    disk.close()
    disk.drop(key_of(1))
    assert disk.get(key_of(1)) is None


@pytest.mark.parametrize("sizes", [[], [0], [1], [10], [25], [3, 0, 4, 30, 10, 10, 1]], ids=str)
def test_blocks_are_hashed_wherever_the_parts_end(tmp_path, sizes):
    parts = [os.urandom(n) for n in sizes]
    whole = b"".join(parts)
    hashes = files.write_blocks(tmp_path / "file", map(memoryview, parts), len(whole), 10)
    assert (tmp_path / "file").read_bytes() == whole
    blocks = [whole[i : i + 10] for i in range(0, len(whole), 10)]
    assert hashes == [hashlib.sha256(block).hexdigest() for block in blocks]
