"""The options that let several processes work on one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeAlias

import typer

from layerwise.errors import InputError

Distributed: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--distributed",
        help="Work with the other processes of this job, as SLURM, Open MPI or a TPU started them.",
    ),
]
Coordinator: TypeAlias = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of process 0, where the processes were started by hand."),
]
Processes: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="With --coordinator: how many processes there are.")
]
ProcessId: TypeAlias = Annotated[
    int | None, typer.Option(min=0, help="With --coordinator: number of this one, from 0.")
]
Timeout: TypeAlias = Annotated[
    float | None,
    typer.Option(min=1, help="Seconds that processes wait for one another at the start (300)."),
]


@contextmanager
def together(
    distributed: bool,
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    timeout: float | None,
) -> Iterator[None]:
    """Meet the other processes, where there are to be some, and tell them where this one fails.

    Raises:
        InputError: options do not fit together, or the processes did not meet.
    """
    place = (coordinator, processes, process_id)
    if not distributed and place == (None, None, None):
        if timeout is not None:
            raise InputError("`--timeout` goes with `--distributed` or `--coordinator`.")
        yield
        return
    from layerwise.distributed import TIMEOUT, Place, join

    if None in place and place != (None, None, None):
        raise InputError(
            "`--coordinator`, `--processes` and `--process-id` go together: give all three, or "
            "`--distributed` alone where SLURM, Open MPI or a TPU has started the processes."
        )
    found = None
    if coordinator is not None and processes is not None and process_id is not None:
        found = Place(coordinator, processes, process_id)
    peers = join(found, TIMEOUT if timeout is None else timeout)
    try:
        yield
    except BaseException as error:
        if peers is not None:
            peers.failed(error)
        raise
