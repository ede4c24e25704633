"""The leaves that touch the world: files, random streams and signals."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import random
import signal
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from layerwise import files
from layerwise._random import Stream, derive, seeded
from layerwise.errors import DiskFullError, InputError
from layerwise.signals import Stopped, as_python_does, asked, check, deferred, stop_on_signals


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- writing


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_what_stood_there_stays_when_the_body_raises(tmp_path, error):
    path = tmp_path / "model.keras"
    path.write_text("old")

    def write():
        with files.replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["model.keras"]


def test_nothing_appears_before_the_end(tmp_path):
    path = tmp_path / "model.keras"
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        # Keras looks at the suffix; a folder is recognised as ours by the prefix.
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".keras")
        assert temporary.name.startswith(files.TEMPORARY_PREFIX)
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["model.keras"]


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_text() == "old"


def test_two_writers_do_not_share_a_temporary(tmp_path):
    path = tmp_path / "a.txt"
    with files.replacing(path) as one, files.replacing(path) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert path.read_text() == "one"
    assert names_in(tmp_path) == ["a.txt"]


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path, monkeypatch
):
    """Else a power cut could leave the name of a file without its content."""
    events = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir())
        real_fsync(descriptor)

    def replace(source, target):
        events.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    files.write_text(tmp_path / "a.txt", "a")
    assert events == [False, "replace", True]


@pytest.mark.parametrize(
    ("write", "value", "content"),
    [
        (files.write_bytes, b"\x00\xff", b"\x00\xff"),
        (files.write_bytes, b"", b""),
        (files.write_text, "Größe → 1\n", "Größe → 1\n".encode()),
        (files.write_json, {"a": [1, None, "ü"]}, None),
    ],
)
def test_a_writer_replaces_the_file_and_returns_its_hash(tmp_path, write, value, content):
    path = tmp_path / "file"
    path.write_text("something old and longer than the new")
    digest = write(path, value)
    written = path.read_bytes()
    assert digest == hashlib.sha256(written).hexdigest() == files.digest_file(path)
    assert written == content if content is not None else json.loads(written) == value
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}, {1, 2}])
def test_what_json_cannot_say_is_refused_and_nothing_is_lost(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises((ValueError, TypeError)):
        files.write_json(path, value)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.json"]


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="3 bytes are needed"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
# Around the size of the pieces in which Python reads (256 KiB).
@pytest.mark.parametrize("size", [0, 1, 2**18, 2**18 + 1])
def test_digest_file_equals_hashlib(tmp_path, algorithm, size):
    data = random.Random(size).randbytes(size)
    (tmp_path / "data").write_bytes(data)
    expected = hashlib.new(algorithm, data).hexdigest()
    assert files.digest_file(tmp_path / "data", algorithm) == expected


# --- the folder of a run


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    folder = tmp_path / "a" / "b"
    assert files.claim_folder(folder) == folder
    assert names_in(folder) == []


def test_an_empty_folder_is_used(tmp_path):
    assert files.claim_folder(tmp_path) == tmp_path
    assert names_in(tmp_path) == []


def test_a_folder_with_only_our_leftovers_is_used(tmp_path):
    ours = [f"{files.TEMPORARY_PREFIX}0a1b.json", "SHA256SUMS", "lock-000003"]
    for name in ours:
        (tmp_path / name).write_text("0" * 64 + "  run.json\n")
    assert files.claim_folder(tmp_path) == tmp_path
    files.remove_leftovers(tmp_path)
    assert names_in(tmp_path) == sorted(ours[1:])


def test_somebody_elses_sums_are_no_leftover(tmp_path):
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  thesis.txt\n")
    with pytest.raises(InputError, match="not empty"):
        files.claim_folder(tmp_path)


def test_a_folder_that_holds_a_run_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    leftover = f"{files.TEMPORARY_PREFIX}1.json"
    (tmp_path / leftover).touch()
    with pytest.raises(InputError, match="already holds a run") as caught:
        files.claim_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    # A run that may still be writing: nothing of it is touched.
    assert names_in(tmp_path) == sorted([leftover, "run.json"])


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "history.json", "layerwise-1"])
def test_any_other_folder_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    leftover = f"{files.TEMPORARY_PREFIX}1.json"
    (tmp_path / leftover).touch()
    with pytest.raises(InputError, match="is not empty and holds no run of layerwise"):
        files.claim_folder(tmp_path)
    assert names_in(tmp_path) == sorted([leftover, name])
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(("below", "reason"), [("", "File exists"), ("run", "Not a directory")])
def test_a_file_is_no_folder(tmp_path, below, reason):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(InputError, match=rf"cannot be written \({reason}\)\. Choose another one"):
        files.claim_folder(path / below)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("where", ["make_folders", "write_new"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, where):
    # The tests may run as root, whom no permission stops: the system's answer is played.
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files._system, where, denied)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        files.claim_folder(tmp_path)


def test_a_name_that_is_too_long_is_refused(tmp_path):
    for look in (files.claim_folder, files.check_folder):
        with pytest.raises(InputError, match="cannot be written"):
            look(tmp_path / ("a" * 300))


@pytest.mark.parametrize("name", ["", "new", "a/b/new"])
def test_a_look_at_a_folder_makes_nothing(tmp_path, name):
    files.check_folder(tmp_path / name)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("inside", "said"),
    [("run.json", "already holds a run"), ("thesis.txt", "not empty"), (".layerwise-1", None)],
)
def test_a_look_at_a_folder_says_what_is_in_the_way(tmp_path, inside, said):
    (tmp_path / inside).write_text("mine")
    if said is None:
        files.check_folder(tmp_path)
        return
    with pytest.raises(InputError, match=said):
        files.check_folder(tmp_path)
    with pytest.raises(InputError, match=rf"cannot be written \(.*{inside} is a file\)"):
        files.check_folder(tmp_path / inside / "below")


def test_a_look_at_a_closed_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(InputError, match=r"cannot be written \(Permission denied\)"):
        files.check_folder(tmp_path / "a" / "run")


# --- random streams


def test_the_streams_keep_their_numbers():
    names = ["SPLIT", "BLOCK", "HEAD", "CLASSIFIER", "TRAINING", "FINE_TUNE", "BASELINE"]
    assert [(s.name, s.value) for s in Stream][:7] == [(n, i) for i, n in enumerate(names)]


@pytest.mark.parametrize(
    ("seed", "path", "expected"),
    [
        (0, (Stream.SPLIT,), 1878776328),
        (0, (Stream.BLOCK, 0, 1), 960668737),
        (12345, (Stream.TRAINING, 2, 7), 316256637),
    ],
)
def test_derived_seeds_are_pinned(seed, path, expected):
    """Every published result hangs on these numbers."""
    assert derive(seed, *path) == expected


def test_derived_seeds_differ_and_fit_in_31_bits():
    tails = [t for n in (0, 1, 2) for t in itertools.product(range(4), repeat=n)]
    seeds = [derive(s, stream, *t) for s in (0, 1, 2**40) for stream in Stream for t in tails]
    # By chance alone 441 of 2^31 numbers would meet with a probability of 0.00005.
    assert len(set(seeds)) == len(seeds) == 3 * len(Stream) * 21
    assert all(0 <= seed < 2**31 for seed in seeds)
    # Keras takes the seed of an initializer as a Python int.
    assert {type(seed) for seed in seeds} == {int}


def draws() -> tuple:
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()


def test_seeded_is_python_and_numpy_seeded():
    with seeded(7):
        found = draws()
    python, numpy = random.Random(7), np.random.RandomState(7)
    assert found == (python.random(), python.gauss(0, 1), numpy.rand(), numpy.randn())


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_seeded_puts_the_streams_back(error):
    random.seed(1)
    np.random.seed(1)
    # Both generators hold back every second normal number; that must be kept as well.
    draws()
    state, numpy_state = random.getstate(), np.random.get_state()
    expected = draws()
    random.setstate(state)
    np.random.set_state(numpy_state)

    def use():
        with seeded(7):
            draws()
            with seeded(8):
                draws()
            if error:
                raise error

    with pytest.raises(error) if error else nullcontext():
        use()
    assert draws() == expected


def test_derive_touches_no_global_stream():
    state, numpy_state = random.getstate(), np.random.get_state()
    derive(3, Stream.HEAD, 1)
    assert random.getstate() == state
    np.testing.assert_equal(np.random.get_state(), numpy_state)


# --- signals


@pytest.fixture
def untouched():
    """Nobody has taken SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield signal.SIG_DFL
    signal.signal(signal.SIGTERM, before)


def test_sigterm_stops_the_run_and_the_handler_comes_back(untouched):
    after = []

    def work():
        with stop_on_signals() as ours:
            assert ours
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):
                pass
            after.append("still running")

    with pytest.raises(Stopped):
        work()
    assert after == []
    assert signal.getsignal(signal.SIGTERM) is untouched


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_handler_comes_back_without_a_signal(untouched, error):
    def work():
        with stop_on_signals():
            assert signal.getsignal(signal.SIGTERM) is not untouched
            if error:
                raise error

    with pytest.raises(error) if error else nullcontext():
        work()
    assert signal.getsignal(signal.SIGTERM) is untouched


def test_a_handler_of_the_users_is_left_alone(untouched):
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    with stop_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        check()
    assert received == [signal.SIGTERM]


def test_a_signal_waits_for_the_end_of_a_step(untouched):
    steps = []

    def work():
        with stop_on_signals(), deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("finished")
            assert asked()
            check()
            steps.append("never")

    with pytest.raises(Stopped):
        work()
    assert steps == ["finished"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)],
)
def test_a_call_of_the_library_ends_as_python_would(untouched, number, expected, capsys):
    def work():
        with as_python_does():
            try:
                os.kill(os.getpid(), number)
                for _ in range(1000):
                    pass
            except Stopped as stop:
                stop.add_note("go on so")
                raise

    with pytest.raises(expected) as caught:
        work()
    if expected is SystemExit:
        assert caught.value.code == 143
        assert capsys.readouterr().err == "Stopped by SIGTERM. go on so\n"
    else:
        assert caught.value.__notes__ == ["go on so"]
    check()


def test_stopped_passes_whatever_catches_errors():
    assert not issubclass(Stopped, Exception)
    assert Stopped(signal.SIGINT).exit_code == 130
    assert Stopped(signal.SIGTERM).exit_code == 143


def test_a_stop_that_python_swallowed_is_raised_at_the_next_check(untouched):
    """An exception raised inside a finalizer is printed and dropped."""
    with stop_on_signals():
        with contextlib.suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            check()
    check()


def test_another_thread_changes_nothing(untouched):
    """Python lets only the main thread set handlers; a run in a thread must still work."""
    seen = []

    def work():
        with stop_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [untouched]
