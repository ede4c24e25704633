"""Files of a run that are damaged, swapped or forged: found, told, and the run ends as it would."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import signal
import string
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_disk import Listening, go_on, hasten, leftovers, train

from layerwise import files
from layerwise.checkpoint import RunFolder
from layerwise.checkpoint import _format as formats
from layerwise.engine import Snapshot
from layerwise.errors import DamagedError, LayerwiseError, UnknownFormatError
from layerwise.progress import EpochsDone, Event, PhaseStarted, StageStarted

MANIFEST, TENSORS = formats.MANIFEST, formats.TENSORS


@pytest.fixture(autouse=True)
def _hastened(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)


class StoppedHereError(Exception):
    """What ends a run at once, as a failure of the user's own listener would."""


def interrupt_in(depth: int) -> Callable[[Event], None]:
    """A hook that ends the run near the end of a stage."""
    where = [0]

    def hook(event: Event) -> None:
        if isinstance(event, StageStarted):
            where[0] = event.depth
        if isinstance(event, EpochsDone) and event.epoch == 2 and where[0] == depth:
            raise StoppedHereError

    return hook


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, Any]]:
    """A folder with a `finished` run, and one `interrupted` in stage 2; how they must end."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        expected = train(root / "finished")
        with pytest.raises(StoppedHereError):
            train(Listening(root / "interrupted", hook=interrupt_in(depth=2)))
    return root, expected


@pytest.fixture
def copied(runs: tuple[Path, tuple[str, Any]], tmp_path: Path) -> Callable[[str], Path]:
    """Gives a fresh copy of a run."""

    def copy(kind: str) -> Path:
        shutil.rmtree(tmp_path / kind, ignore_errors=True)
        return Path(shutil.copytree(runs[0] / kind, tmp_path / kind, symlinks=True))

    return copy


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, Any]]:
    """The same as `runs` on a table, whose preparation is kept: folders of the same names."""
    root = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        expected = train(root / "finished", on_table=True)
        hooked = Listening(root / "interrupted", hook=interrupt_in(depth=2))
        with pytest.raises(StoppedHereError):
            train(hooked, on_table=True)
    return root, expected


def resumed(folder: Path) -> tuple[tuple[str, Any], list[str]]:
    """How a resume ends, and what it notes."""
    run = Listening(folder, resume=True)
    ended = train(run, on_table="findings" in run.started_with())
    assert RunFolder(folder, resume=True).damaged() == []
    assert leftovers(folder) == []
    return ended, run.notes


# --- flips and truncations


def damage(path: Path, rng: random.Random, cut: bool) -> str:
    """Flip one bit of a file, or cut it; what was done."""
    content = bytearray(path.read_bytes())
    if cut:
        length = rng.randrange(len(content))
        path.write_bytes(content[:length])
        return f"{path.name} cut to {length}"
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {path.name}"


def artefacts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


_REMADE = ("history.json", "preparation.json")
"""Nothing vouches for them before a run is finished: every session writes them anew."""


def is_found(folder: Path, path: Path) -> bool:
    """Whether the reader of a file says that it is not what was written."""
    run = RunFolder(folder, resume=True)
    try:
        if path.parent.parent.name == "checkpoints":
            formats.read(path.parent.parent, path.parent.name)
        run.started_with()
        damaged = run.damaged()
    except DamagedError as error:
        return str(error).endswith(".")
    if damaged is None:
        # Without the mark of a finished run all is made again; these two are always.
        return path.name in ("SHA256SUMS", *_REMADE)
    return path.name in damaged or (path.name == "SHA256SUMS" and damaged != [])


def ends_as_it_would(folder: Path, path: Path, expected: tuple[str, Any]) -> bool:
    """Whether a resume ends with the same weights, having told of a damaged checkpoint."""
    refuses = path.name in ("run.json", "SHA256SUMS")
    try:
        ended, notes = resumed(folder)
    except DamagedError:
        return refuses
    read = path.parent.parent.name == "checkpoints" and path.parent.name not in ("model", "exits")
    told = [note for note in notes if path.parent.name in note and note.endswith(".")]
    mended = not path.exists() or not is_found(folder, path)
    return ended == expected and len(notes) == len(told) == int(read) and mended


def strike(
    campaigns: Sequence[tuple[Path, tuple[str, Any]]],
    folder: Path,
    count: int,
    cut: bool,
    every: int,
) -> None:
    """Damage copies of runs, finished and interrupted ones; resume `every` so many of them."""
    rng = random.Random(count)
    for struck in range(count):
        root, expected = campaigns[struck // 2 % len(campaigns)]
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root / ("finished", "interrupted")[struck % 2], folder, symlinks=True)
        finished = struck % 2 == 0
        path = rng.choice(artefacts(folder))
        done = damage(path, rng, cut)
        where = f"{struck}: {path.relative_to(folder)}, {done}"
        # Nothing vouches for the log, nor for what every session of a run writes anew.
        whole = (finished or path.name not in _REMADE) and path.name != "events.jsonl"
        assert not whole or is_found(folder, path), where
        if struck % every == 0:
            assert ends_as_it_would(folder, path, expected), where


@pytest.mark.parametrize(("cut", "count"), [(False, 50), (True, 10)], ids=["flips", "cuts"])
def test_damage_is_found_and_mended(
    runs: tuple[Path, tuple[str, Any]],
    tables: tuple[Path, tuple[str, Any]],
    tmp_path: Path,
    cut: bool,
    count: int,
) -> None:
    strike((runs, tables), tmp_path / "run", count, cut, every=3)


@pytest.mark.parametrize("cut", [False, True], ids=["flip", "cut"])
@pytest.mark.parametrize("kind", ["finished", "interrupted"])
def test_a_damaged_preparation_is_made_again(
    tables: tuple[Path, tuple[str, Any]], tmp_path: Path, kind: str, cut: bool
) -> None:
    folder = Path(shutil.copytree(tables[0] / kind, tmp_path / "run", symlinks=True))
    path = folder / "preparation.json"
    damage(path, random.Random(7), cut)
    if kind == "finished":
        assert RunFolder(folder, resume=True).damaged() == [path.name]
    assert ends_as_it_would(folder, path, tables[1])


@pytest.mark.faults
@pytest.mark.parametrize(("cut", "count"), [(False, 1000), (True, 200)], ids=["flips", "cuts"])
def test_much_damage_is_found_and_mended(
    runs: tuple[Path, tuple[str, Any]],
    tables: tuple[Path, tuple[str, Any]],
    tmp_path: Path,
    cut: bool,
    count: int,
) -> None:
    strike((runs, tables), tmp_path / "run", count, cut, every=1)
    what = "files cut short" if cut else "flipped bits"
    print(f"FAULTS | {what} | {count} | all found, 0 different final hashes")  # noqa: T201


def test_every_flip_beside_the_hashes_of_sha256sums_is_found(copied: Callable[[str], Path]) -> None:
    folder = copied("finished")
    path = folder / "SHA256SUMS"
    content = path.read_bytes()
    missed = []
    for at, byte in enumerate(content):
        for bit in range(8) if chr(byte) not in string.hexdigits else ():
            path.write_bytes(content[:at] + bytes([byte ^ 1 << bit]) + content[at + 1 :])
            missed += [] if is_found(folder, path) else [(at, bit)]
    path.write_bytes(content[:-1])
    assert (missed, is_found(folder, path)) == ([], True)


# --- files that are whole, and in a wrong place


class HungError(Exception):
    """Something waits that must not."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another seed, interrupted as the other one is."""
    folder = tmp_path_factory.mktemp("stranger") / "run"
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        with pytest.raises(StoppedHereError):
            train(Listening(folder, hook=interrupt_in(depth=2)), seed=1)
    return folder


def take(source: Path, target: Path) -> None:
    """Put a copy of a file or folder in the place of another."""
    files.remove(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def link(path: Path, elsewhere: Path) -> None:
    """Move a file or folder away, and leave a link to it."""
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    files.remove(path)
    os.mkfifo(path)


def reseal(folder: Path, **changes: Any) -> None:
    """Change a manifest, with the right seal."""
    body = (folder / MANIFEST).read_bytes().partition(b"\n")[2]
    (folder / MANIFEST).write_bytes(seal(json.dumps(json.loads(body) | changes).encode()))


def seal(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


STAGE, NEXT, NEWEST = "stage-0001-0", "stage-0001-0-scores", "current-b"
"""Folders of the interrupted run."""

Swap = Callable[[Path, Path, Path], Any]
"""Gets `checkpoints/`, those of another run, and a place outside that does not exist."""

TOLD: dict[str, tuple[Swap, str]] = {
    "tensors of another stage": (
        lambda own, other, out: take(own / STAGE / TENSORS, own / NEXT / TENSORS),
        f"{NEXT}/{TENSORS} has ",
    ),
    "tensors of another run": (
        lambda own, other, out: take(other / STAGE / TENSORS, own / STAGE / TENSORS),
        f"The tensors of the checkpoint {STAGE} are not those written.",
    ),
    "the folder of another stage": (
        lambda own, other, out: take(own / NEXT, own / STAGE),
        f"The checkpoint {STAGE} is one of {NEXT}",
    ),
    "a link to the folder of another stage": (
        lambda own, other, out: files.remove(own / STAGE) or (own / STAGE).symlink_to(NEXT),
        f"The checkpoint {STAGE} is one of {NEXT}",
    ),
    "a checkpoint of another run": (
        lambda own, other, out: take(other / STAGE, own / STAGE),
        f"The checkpoint {STAGE} is of another run.",
    ),
    "a training in progress of another run": (
        lambda own, other, out: take(other / NEWEST, own / NEWEST),
        f"The checkpoint {NEWEST} is of another run.",
    ),
    "no tensors": (
        lambda own, other, out: files.remove(own / STAGE / TENSORS),
        f"The checkpoint {STAGE} has lost its tensors.",
    ),
    "the manifest is a link to itself": (
        lambda own, other, out: link(own / STAGE / MANIFEST, out),
        f"{MANIFEST} cannot be read: Too many levels of symbolic links.",
    ),
    "the tensors are a link to themselves": (
        lambda own, other, out: link(own / STAGE / TENSORS, out),
        f"{TENSORS} cannot be read: Too many levels of symbolic links.",
    ),
    "the folder is a link to itself": (
        lambda own, other, out: link(own / STAGE, out),
        f"{MANIFEST} leads out of ",
    ),
    "the manifest is a pipe": (
        lambda own, other, out: pipe(own / STAGE / MANIFEST),
        f"{MANIFEST} is no plain file.",
    ),
    "the tensors are a pipe": (
        lambda own, other, out: pipe(own / NEWEST / TENSORS),
        f"{TENSORS} is no plain file.",
    ),
    "the manifest is a folder": (
        lambda own, other, out: take(own / NEXT, own / STAGE / MANIFEST),
        f"{MANIFEST} is no plain file.",
    ),
}

UNTOLD: dict[str, Swap] = {
    "an empty folder": lambda own, other, out: (
        files.remove(own / STAGE / MANIFEST) or files.remove(own / STAGE / TENSORS)
    ),
    "a file": lambda own, other, out: (
        take(own / STAGE / TENSORS, own / "file")
        or files.remove(own / STAGE)
        or (own / "file").rename(own / STAGE)
    ),
    "a pipe": lambda own, other, out: pipe(own / STAGE),
    "a link to nothing": lambda own, other, out: (
        files.remove(own / STAGE) or (own / STAGE).symlink_to("nothing")
    ),
}


def swapped(
    swap: Swap, copied: Callable[[str], Path], stranger: Path, tmp_path: Path
) -> tuple[tuple[str, Any], list[str]]:
    """How an interrupted run ends and what it notes; what lies outside of it stays."""
    folder, outside = copied("interrupted"), tmp_path / "outside"
    swap(folder / "checkpoints", stranger / "checkpoints", outside)
    before = [path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()]
    with within(30):
        ended = resumed(folder)
    after = [path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()]
    assert before == after
    return ended


@pytest.mark.parametrize("name", [STAGE, NEWEST])
def test_a_checkpoint_from_the_future_is_refused_and_kept(
    name: str, copied: Callable[[str], Path]
) -> None:
    folder = copied("interrupted")
    reseal(folder / "checkpoints" / name, format=2)
    kept = (folder / "checkpoints" / name / MANIFEST).read_bytes()
    message = f"The checkpoint {name} has format 2, and this version of layerwise reads 1."
    with pytest.raises(UnknownFormatError, match=message):
        resumed(folder)
    assert (folder / "checkpoints" / name / MANIFEST).read_bytes() == kept


@pytest.mark.parametrize("name", TOLD)
def test_what_does_not_belong_there_is_told(
    name: str,
    runs: tuple[Path, tuple[str, Any]],
    copied: Callable[[str], Path],
    stranger: Path,
    tmp_path: Path,
) -> None:
    swap, message = TOLD[name]
    ended, notes = swapped(swap, copied, stranger, tmp_path)
    assert ended == runs[1]
    assert len(notes) == 1
    assert message in notes[0]


@pytest.mark.parametrize("name", UNTOLD)
def test_what_does_not_belong_there_is_not_used(
    name: str,
    runs: tuple[Path, tuple[str, Any]],
    copied: Callable[[str], Path],
    stranger: Path,
    tmp_path: Path,
) -> None:
    assert swapped(UNTOLD[name], copied, stranger, tmp_path)[0] == runs[1]


@pytest.mark.parametrize("name", UNTOLD)
def test_what_was_passed_over_is_told(
    name: str, copied: Callable[[str], Path], stranger: Path, tmp_path: Path
) -> None:
    assert len(swapped(UNTOLD[name], copied, stranger, tmp_path)[1]) == 1


@pytest.mark.parametrize(
    ("spoiled", "epochs"),
    [([], [2]), (["current-b"], [2]), (["current-a"], [2]), (["current-a", "current-b"], [1, 2])],
    ids=["none", "newer", "older", "both"],
)
def test_a_training_in_progress_falls_back_one_generation(
    spoiled: list[str],
    epochs: list[int],
    runs: tuple[Path, tuple[str, Any]],
    copied: Callable[[str], Path],
) -> None:
    """It was interrupted in the second epoch, which both generations have begun with."""
    root, done = copied("interrupted") / "checkpoints", []
    assert formats.read(root, "current-a").serial + 1 == formats.read(root, "current-b").serial
    for name in spoiled:
        damage(root / name / TENSORS, random.Random(0), cut=True)

    def note(event: Event) -> None:
        if isinstance(event, StageStarted | PhaseStarted):
            done.append([type(event)])
        elif isinstance(event, EpochsDone):
            done[-1].append(event.epoch)

    run = Listening(root.parent, resume=True, hook=note)
    assert train(run) == runs[1]
    assert done == [[StageStarted], [StageStarted, *epochs], [PhaseStarted, 1]]
    assert [note.split()[5] for note in run.notes] == spoiled


def test_an_older_generation_over_the_newer(
    runs: tuple[Path, tuple[str, Any]], copied: Callable[[str], Path]
) -> None:
    """Both are true, so there is nothing to tell."""
    folder = copied("interrupted")
    root = folder / "checkpoints"
    a, b = (formats.read(root, name).serial for name in ("current-a", "current-b"))
    names = ("current-a", "current-b") if a < b else ("current-b", "current-a")
    take(root / names[0], root / names[1])
    assert resumed(folder) == (runs[1], [])


@pytest.mark.parametrize("name", ["history.json", "model.keras", "report.html", "depth.svg"])
@pytest.mark.parametrize("spoil", [link, lambda path, elsewhere: pipe(path)], ids=["link", "pipe"])
def test_a_derived_file_that_is_none(
    name: str,
    spoil: Callable[[Path, Path], None],
    runs: tuple[Path, tuple[str, Any]],
    copied: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """It is neither read nor written through, and made anew."""
    folder, outside = copied("finished"), tmp_path / "outside"
    spoil(folder / name, outside)
    before = outside.read_bytes() if outside.exists() else None
    with within(30):
        assert RunFolder(folder, resume=True).damaged() == [name]
        assert resumed(folder) == (runs[1], [])
    assert (outside.read_bytes() if outside.exists() else None) == before
    assert not (folder / name).is_symlink()


@pytest.mark.parametrize("name", ["run.json", "SHA256SUMS"])
@pytest.mark.parametrize("spoil", [link, lambda path, elsewhere: pipe(path)], ids=["link", "pipe"])
def test_what_vouches_for_the_run_must_be_a_plain_file(
    name: str,
    spoil: Callable[[Path, Path], None],
    copied: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = copied("interrupted")
    spoil(folder / name, tmp_path / "outside")
    with within(30), pytest.raises(DamagedError, match=rf"{name}.*\.$"):
        go_on(folder)


def test_a_new_run_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    os.mkfifo(folder / "SHA256SUMS")
    with within(2), pytest.raises(LayerwiseError):
        train(folder)


def test_a_file_instead_of_all_checkpoints_is_told(copied: Callable[[str], Path]) -> None:
    folder = copied("interrupted")
    files.remove(folder / "checkpoints")
    (folder / "checkpoints").write_text("")
    with pytest.raises(LayerwiseError):
        go_on(folder)


# --- what the reader is given

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "bytes", "sha256"]) | st.text(), inside)
    ),
    max_leaves=8,
)
TYPES = "BOOL U8 I8 F8_E5M2 F8_E4M3 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64 C64 F4 F8_E8M0 X"
relaxed = settings(
    deadline=None,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def header(tensors: Any) -> bytes:
    """The head of a safetensors file."""
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


WHOLE = header(
    {
        "a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        "b": {"dtype": "U16", "shape": [], "data_offsets": [12, 14]},
    }
) + bytes(14)


def manifest(whole: bytes = WHOLE, /, **changes: Any) -> bytes:
    """A sealed manifest that is right but for what is changed."""
    facts = {
        "format": 1,
        "name": "one",
        "run": "",
        "plan": {},
        "below": "",
        "serial": 1,
        "seconds": 0.5,
        "tensors": {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()},
        "types": {},
        "facts": {},
    }
    return seal(json.dumps(facts | changes).encode())


def read(root: Path, manifest: bytes, tensors: bytes = WHOLE) -> formats.Checkpoint | None:
    """What the reader gives: a checkpoint, or None where it says `DamagedError`."""
    folder = root / "one"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(manifest)
    (folder / TENSORS).write_bytes(tensors)
    try:
        found = formats.read(root, "one")
    except DamagedError:
        return None
    assert isinstance(found.serial, int)
    assert isinstance(found.seconds, float)
    assert all(isinstance(array, np.ndarray) for array in found.snapshot.arrays.values())
    return found


def test_the_forged_are_near_the_true(tmp_path: Path) -> None:
    """Else the tests below would prove nothing."""
    found = read(tmp_path, manifest())
    assert found is not None
    assert {name: (a.dtype, a.shape) for name, a in found.snapshot.arrays.items()} == {
        "a": (np.dtype("float32"), (3,)),
        "b": (np.dtype("uint16"), ()),
    }


@relaxed
@given(content=st.binary())
def test_any_bytes_as_a_manifest(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) is None
    assert read(tmp_path, seal(content)) is None


@relaxed
@given(value=VALUES)
def test_any_json_as_a_manifest(tmp_path: Path, value: Any) -> None:
    assert read(tmp_path, seal(json.dumps(value).encode())) is None


FIELDS = [
    "below",
    "facts",
    "format",
    "name",
    "plan",
    "run",
    "seconds",
    "serial",
    "tensors",
    "types",
]


@relaxed
@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=2))
def test_any_json_in_a_manifest(tmp_path: Path, changes: dict[str, Any]) -> None:
    read(tmp_path, manifest(**changes))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**400, -1], ids=str)
def test_a_number_that_is_none(tmp_path: Path, name: str, value: float) -> None:
    read(tmp_path, manifest(**{name: value}))
    read(tmp_path, manifest(tensors={"bytes": value, "sha256": ""}))


@relaxed
@given(
    types=st.dictionaries(
        st.sampled_from("abc"), st.sampled_from(["bfloat16", "object"]) | VALUES, min_size=1
    )
)
def test_any_types_in_a_manifest(tmp_path: Path, types: Any) -> None:
    read(tmp_path, manifest(types=types))


@relaxed
@given(tensors=st.binary(), length=st.none() | st.integers(0, 2**64 - 1))
def test_any_bytes_as_tensors(tmp_path: Path, tensors: bytes, length: int | None) -> None:
    tensors = tensors if length is None else length.to_bytes(8, "little") + tensors
    read(tmp_path, manifest(tensors), tensors)


@relaxed
@given(
    tensors=st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__"]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(TYPES.split()) | VALUES,
                "shape": st.lists(st.integers(0, 4) | st.integers(0, 2**65), max_size=3) | VALUES,
                "data_offsets": st.lists(st.integers(0, 16), min_size=2, max_size=2) | VALUES,
            }
        )
        | VALUES,
        max_size=2,
    ),
    rest=st.binary(max_size=16),
)
def test_any_header_of_tensors(tmp_path: Path, tensors: Any, rest: bytes) -> None:
    content = header(tensors) + rest
    read(tmp_path, manifest(content), content)


@pytest.mark.parametrize("depth", [100, 900, 990, 100_000])
def test_json_of_great_depth(tmp_path: Path, depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    for name in ("format", "facts", "name"):
        body = manifest(**{name: "here"}).partition(b"\n")[2].replace(b'"here"', deep)
        read(tmp_path, seal(body))


def sparse(path: Path, size: int) -> None:
    """A file that takes no room and would take all memory."""
    try:
        os.truncate(path, size)
    except OSError:
        pytest.skip("this file system keeps no file of 8 TB")


@pytest.mark.parametrize("name", [MANIFEST, TENSORS])
def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, manifest()) is not None
    sparse(tmp_path / "one" / name, 1 << 43)
    tracemalloc.start()
    with pytest.raises(DamagedError, match="8,796,093,022,208 bytes"):
        formats.read(tmp_path, "one")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_forged_size_does_not_take_the_memory(tmp_path: Path) -> None:
    size = {"bytes": 1 << 43, "sha256": "0" * 64}
    assert read(tmp_path, manifest()) is not None
    (tmp_path / "one" / MANIFEST).write_bytes(manifest(tensors=size))
    sparse(tmp_path / "one" / TENSORS, 1 << 43)
    with pytest.raises(DamagedError):
        formats.read(tmp_path, "one")


# --- there and back

STORED = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64"),
]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = st.sampled_from(STORED).flatmap(lambda name: arrays.arrays(name, SHAPES)) | arrays.arrays(
    "uint16", SHAPES
).map(lambda bits: bits.view(ml_dtypes.bfloat16))
FACTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
        max_leaves=6,
    ),
    max_size=3,
)


def there_and_back(root: Path, given: Snapshot) -> Snapshot:
    kept = formats.Checkpoint("one", "run", {"epochs": 3}, "below", 7, 0.25, given)
    files.remove(root / "one")
    formats.write(root / "one", kept)
    found = formats.read(root, "one")
    assert replace(found, snapshot=given) == kept
    return found.snapshot


@relaxed
@given(
    kept=st.dictionaries(st.text(max_size=5).filter(lambda n: n != "__metadata__"), ARRAYS),
    facts=FACTS,
    turned=st.booleans(),
)
def test_arrays_come_back_to_the_bit(
    tmp_path: Path, kept: dict[str, np.ndarray], facts: dict[str, Any], turned: bool
) -> None:
    """Also those of no order in memory, of no number, and of one number without an axis."""
    kept = {name: array.T if turned else array for name, array in kept.items()}
    found = there_and_back(tmp_path, Snapshot(kept, facts))
    assert found.facts == facts
    assert found.arrays.keys() == kept.keys()
    for name, array in kept.items():
        back = found.arrays[name]
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_weights_of_eight_bits_come_back(tmp_path: Path, dtype: Any) -> None:
    array = np.arange(8).astype(dtype)
    back = there_and_back(tmp_path, Snapshot({"a": array})).arrays["a"]
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


class Remembering(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """A callback that holds an array which no tensor can be."""

    def __init__(self, kept: np.ndarray) -> None:
        super().__init__()
        self.kept = kept


@pytest.mark.parametrize(
    "kept", [np.array(["a"]), np.zeros(2, "complex128")], ids=["text", "complex"]
)
def test_a_callback_with_an_array_of_another_kind(tmp_path: Path, kept: np.ndarray) -> None:
    """What a callback holds and no file keeps is noted, and the training goes on."""
    run = Listening(tmp_path / "run")
    train(run, callbacks=lambda depth: [Remembering(kept)])
    assert any("no file keeps" in note for note in run.notes)
