"""A run of several processes: what each of them has of it, and what they cannot do yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from layerwise import distributed
from layerwise.datasets import Dataset, share_of
from layerwise.engine import bounds
from layerwise.errors import InputError
from layerwise.memory import bytes_from, return_freed_memory
from layerwise.objectives import has_views
from layerwise.training._settings import Settings


def everywhere(here: bool) -> bool:
    """Whether something holds in every process of the run; all must ask at the same place."""
    peers = distributed.peers()
    return here if peers is None else peers.all(here)


@contextmanager
def company() -> Iterator[None]:
    """Tell the other processes where this one fails: they could only wait for it."""
    try:
        yield
    except BaseException as error:
        peers = distributed.peers()
        if peers is not None:
            peers.failed(error)
        raise


def shared(data: Dataset, settings: Settings) -> Dataset:
    """This process's share of the data; of the only process, all of them.

    Raises:
        InputError: the run asks for what several processes cannot do, or they have other data.
    """
    if distributed.peers() is not None:
        refuse_apart(data, settings)
    return own_share(data, settings.memory_limit)


def own_share(data: Dataset, memory_limit: int | str | None = None) -> Dataset:
    """This process's share of the data, where they are not cut yet; of the only process, all.

    Who holds the whole no longer when training begins has the memory of the share alone.

    Args:
        data: all rows, the same in every process.
        memory_limit: as in `train`.

    Raises:
        InputError: the processes have different data.
    """
    peers = distributed.peers()
    if peers is None or data.part:
        return data
    peers.begin()
    peers.same("data", data.fingerprint)
    return_freed_memory()
    limit = None if memory_limit is None else bytes_from("memory_limit", memory_limit)
    return share_of(data, bounds, limit)


def refuse_apart(data: Dataset, settings: Settings) -> None:
    """Refuse what needs all rows in one process, or decides by the clock.

    Raises:
        InputError: saying what to leave out.
    """
    asked = {
        'the engine "fit"': settings.engine.name != "compiled",
        '`baseline="full"`, which decides by the clock': settings.baseline == "full",
        "`search_fraction`": settings.search_fraction is not None,
        '`cache_dtype="uint8"`, which learns from all rows': settings.cache_dtype == "uint8",
        "rows without labels": data.unlabeled is not None,
        f'the objective "{settings.objective(1)!r}", which makes views of the rows': has_views(
            settings.objective(1)
        ),
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise InputError(
                f"Several processes cannot do this together yet: {what}. Leave it out, or run in "
                "one process, which uses all devices of its machine."
            )
