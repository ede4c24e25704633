"""The greedy loop as a user calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerwise import distributed
from layerwise._typing import EngineName
from layerwise.checkpoint import RunFolder
from layerwise.depth import DepthRule, Plateau
from layerwise.files import RunLock
from layerwise.finetune import FineTune
from layerwise.progress import Listener
from layerwise.training._arguments import read_arguments
from layerwise.training._result import TrainResult as TrainResult
from layerwise.training._run import run
from layerwise.training._settings import listeners_from
from layerwise.training._together import company, shared
from layerwise.training._together import own_share as own_share

_PLATEAU = Plateau(patience=3, min_delta=0.0)


def train(
    x: Any,
    y: Any = None,
    *,
    block: Any,
    objective: Any = "supervised",
    optimizer: Any = "adam",
    epochs: int | Callable[[int], int] = 25,
    batch_size: int | Callable[[int], int] = 32,
    max_depth: int = 10,
    depth_rule: DepthRule = _PLATEAU,
    validation_split: float = 0.2,
    validation_data: tuple[Any, Any] | None = None,
    test_data: tuple[Any, Any] | None = None,
    head: Any = "carry",
    monitor: str | None = None,
    fine_tune: FineTune | None = None,
    replicates: int = 1,
    seed: int = 0,
    engine: EngineName = "auto",
    callbacks: Sequence[Any] | Callable[[int], Sequence[Any]] = (),
    run_dir: str | Path | RunFolder | None = None,
    verbose: str | int = "auto",
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | None = None,
    score_test_each_stage: bool = False,
    baseline: str = "none",
    on_divergence: str = "stop",
    checkpoint_every: float = 30.0,
    cache_dir: str | Path | None = None,
    cache_limit: int | None = None,
    memory_limit: int | str | None = None,
    cache_dtype: str | None = None,
    window: int = 1,
    freeze: str | int = "all",
    init: str = "fresh",
    schedule: str = "sequential",
    augment: Any = None,
    augment_views: int | None = None,
    unlabeled: Any = None,
    unlabeled_label: Any = None,
    search_fraction: float | None = None,
    diagnostics: bool | str | Sequence[str] = False,
    listeners: Listener | Sequence[Listener] = (),
) -> TrainResult:
    """Grow a network one block at a time, and keep the depth that validation chooses.

    Each stage trains one new block and a head on the cached output of the frozen blocks below.

    Args:
        x: `(n_samples, ...)` numbers: an array, a list, a frame of pandas, polars or PyArrow; or
            a `layerwise.Dataset` with its own splits.
        y: `(n_samples,)` classes of any type or real values, one-hot rows, or `(n_samples,
            n_values)`; None where the objective needs no labels.
        block: a callable from the depth, counted from 1, to a new Keras layer or small model; a
            list of layers; or a `keras.Sequential`, whose last layer with a kernel is the head.
        objective: what a stage minimises: `"supervised"`, `"reconstruction"`, an `Objective`, or
            a callable of depth.
        optimizer: a name, a Keras optimizer, of which every stage gets a fresh copy, or a
            callable of depth.
        epochs: for each stage; a number or a callable of depth.
        batch_size: a number or a callable of depth.
        max_depth: the most stages.
        depth_rule: when to stop growing and which depth to keep; default `Plateau(patience=3)`.
        validation_split: the share of rows held out to choose the depth, stratified by class; 0
            for none.
        validation_data: `(x, y)` to use instead.
        test_data: `(x, y)`, scored once, for the chosen model.
        head: `"carry"` trains the head of the stage before further, `"fresh"` starts a new one,
            `"frozen"` fixes it after stage 1; or a callable from the depth to a new layer.
        monitor: the validation metric that chooses; default `accuracy` for classes,
            `mean_squared_error` for values, `loss` without labels.
        fine_tune: train all weights jointly after growth.
        replicates: how many runs that differ only in their random streams, not in the split.
        seed: of every random stream, 0 or more.
        engine: `"compiled"` (JAX), `"fit"` (any backend), or `"auto"`.
        callbacks: Keras callbacks, copied for every stage, or a callable of depth.
        run_dir: a folder for everything that the run leaves behind; None writes nothing.
        verbose: `"auto"` shows a live display on a terminal and lines elsewhere; 0 nothing; 1
            lines.
        sample_weight: `(n_samples,)` weights of the loss, 0 or more.
        class_weight: label to weight of the loss in training.
        score_test_each_stage: also score the test rows after every stage, for display alone:
            nothing is ever chosen by them.
        baseline: `"quick"` also trains the chosen network end to end, and a shallow one, for as
            many epochs; `"full"` also for as many operations and as much time, one on fixed random
            features and one built as is usual today, three seeds each.
        on_divergence: `"stop"` ends growth when a stage's loss or weights are not finite;
            `"retry"` trains it again from its start at half the learning rate, up to 3 times.
        checkpoint_every: with `run_dir`, seconds between two checkpoints inside a stage; every
            stage is kept at its end in any case. `layerwise.resume` goes on from there.
        cache_dir: a folder for the features of the trunk, which otherwise live in memory. It may
            be shared by several runs; what a finished run has put there is removed.
        cache_limit: the most bytes that `cache_dir` may hold.
        memory_limit: bytes, or a text such as `"200MB"`, for all that the run makes: copies of the
            data, features, and what a stage trains with. What does not fit lies on disk, in
            `cache_dir`, else in the run folder, else in temporary files, and rows come to the
            device some batches at a time, in the same order and to the same weights. Arrays that
            you pass in memory are yours and do not count; mapped ones, as
            `np.load(path, mmap_mode="r")` gives, stay on disk. Of several processes it is the
            limit of each.
        cache_dtype: store features as `"float16"`, `"bfloat16"` or `"uint8"`, in a half or a
            quarter of the bytes; stages compute in 32 bits all the same. `"uint8"` has 255 steps of
            what each unit or channel spans over the training rows, which takes a second pass.
        window: train the newest so many blocks together, on features cached below them.
        freeze: `"all"` below the window; `"none"` trains the whole network in every stage; a
            number freezes so many of the lowest blocks, once each has been trained.
        init: a new block starts `"fresh"`, as the `"identity"`, so that the network does not
            change at first, or as a `"copy"` of the block below. The first is always fresh.
        schedule: `"sequential"` trains one stage after another; `"simultaneous"` all in step, in
            one pass over each batch, with the optimizer, epochs and batch size of depth 1. No
            gradient passes from one block to the one below.
        augment: Keras preprocessing layers that change the training rows at random. Then no
            features are cached: each batch passes the frozen blocks anew.
        augment_views: make so many augmented copies of each training row beforehand and cache
            their features; an epoch passes over all of them.
        unlabeled: `(n_unlabeled, ...)`, more rows; objectives that need no labels train on them
            too.
        unlabeled_label: the value in `y`, such as -1, that marks a row without a label.
        search_fraction: grow on this part of the training rows first, stratified by class, and let
            the depth rule choose there; then grow that depth on all of them.
        diagnostics: look into the chosen network at the end, for the history and the report: True,
            or some of `"probe"`, `"reconstruction"`, `"similarity"`, `"rank"`, `"dead"`,
            `"calibration"`, `"confusion"`, `"hardest"`, `"gradients"`.
        listeners: callables that get each event of `layerwise.progress` as it comes; what one
            raises ends the run. They are no part of what a resume compares.

    Raises:
        InputError, InputTypeError: an argument cannot be used; nothing was written.
        DivergedError: no stage ended with finite loss and weights.
        FreezeError: a frozen block changed.

    Example:
        >>> import keras, layerwise
        >>> data = layerwise.load_dataset("wine")
        >>> result = layerwise.train(
        ...     data, block=lambda depth: keras.layers.Dense(16, activation="relu"),
        ...     epochs=20, max_depth=3, verbose=0)
        >>> result.model.predict(data.test.x, verbose=0).shape
        (45, 3)

    Where JAX was initialized in several processes (`jax.distributed.initialize`), all of them call
    this with the same data; each keeps its share, and the first one writes and prints. Arrays in
    memory stay with the caller as a whole: pass mapped ones where a process should hold its share
    alone.

    Reference: Bengio, Lamblin, Popovici, Larochelle, Greedy Layer-Wise Training of Deep Networks,
    2007. There the depth is fixed beforehand and a fine-tuning always follows; here validation
    chooses the depth, and fine-tuning is kept only where it helps.
    """
    told = listeners_from(listeners)
    data, settings = read_arguments(
        x,
        y,
        block=block,
        objective=objective,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        max_depth=max_depth,
        depth_rule=depth_rule,
        validation_split=validation_split,
        validation_data=validation_data,
        test_data=test_data,
        head=head,
        monitor=monitor,
        fine_tune=fine_tune,
        replicates=replicates,
        seed=seed,
        engine=engine,
        callbacks=callbacks,
        sample_weight=sample_weight,
        class_weight=class_weight,
        score_test_each_stage=score_test_each_stage,
        baseline=baseline,
        on_divergence=on_divergence,
        checkpoint_every=checkpoint_every,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        cache_limit=cache_limit,
        memory_limit=memory_limit,
        cache_dtype=cache_dtype,
        window=window,
        freeze=freeze,
        init=init,
        schedule=schedule,
        augment=augment,
        augment_views=augment_views,
        unlabeled=unlabeled,
        unlabeled_label=unlabeled_label,
        search_fraction=search_fraction,
        diagnostics=diagnostics,
    )
    with company():
        # From here on nobody holds the rows of the others.
        data = shared(data, settings)
    return run(data, settings, run_dir=run_dir, verbose=verbose, listeners=told)


def resume(
    run_dir: str | Path, x: Any, y: Any = None, *, verbose: str | int = "auto", **arguments: Any
) -> TrainResult:
    """Go on with a run that was interrupted or killed, to the result it would have had.

    Stages that are finished are read from their checkpoints, the one in progress goes on from its
    last; on the same machine and versions the final weights are those of an uninterrupted run to
    the bit. A run of the command line is resumed by `layerwise resume RUN`.

    Args:
        run_dir: the folder that was given to `train`.
        x, y: the same data; their fingerprint is compared.
        verbose: as in `train`.
        **arguments: what `train` was called with, `block` among them; a difference is refused,
            but for `listeners`.

    Raises:
        InputError: there is no run, or it was started with other data or arguments; the message
            names the difference.
        RunLockedError: another process works on the run.
        DamagedError: `run.json` is not what was written.

    Example:
        >>> import keras, layerwise
        >>> data = layerwise.load_dataset("wine")
        >>> how = dict(block=lambda depth: keras.layers.Dense(8, "relu"), epochs=2, max_depth=2)
        >>> before = layerwise.train(data, run_dir="wine-run", verbose=0, **how)
        >>> after = layerwise.resume("wine-run", data, verbose=0, **how)
        >>> after.selected_depth == before.selected_depth
        True
    """
    peers = distributed.peers()
    if peers is None or peers.leads:
        RunLock(Path(run_dir)).refuse_where_owned()
    return train(x, y, run_dir=RunFolder(Path(run_dir), resume=True), verbose=verbose, **arguments)
