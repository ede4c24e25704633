"""Which of Keras' callbacks an engine can serve."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from layerwise.errors import InputError

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_test_begin",
    "on_test_end",
)


def _overridden(callback: keras.callbacks.Callback) -> list[str]:
    """The hooks inside an epoch that this callback really uses."""
    if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq == "epoch":
        return []
    return [
        hook
        for hook in _BATCH_HOOKS
        if getattr(getattr(callback, hook), "__func__", None)
        is not getattr(keras.callbacks.Callback, hook)
    ]


def refuse_unsavable(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuse callbacks that would save the model that a stage trains: it is no plain model.

    Raises:
        InputError: naming the callback.
    """
    for callback in callbacks:
        whole = isinstance(callback, keras.callbacks.ModelCheckpoint)
        if whole and not callback.save_weights_only:
            raise InputError(
                "ModelCheckpoint cannot save the model of a single stage. Pass "
                "`save_weights_only=True`, or `run_dir=` to keep the whole network."
            )
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise InputError("BackupAndRestore cannot resume a stage. Pass `run_dir=` instead.")


def refuse_batch_hooks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuse callbacks that must run inside an epoch.

    Raises:
        InputError: naming the callback and its hook.
    """
    for callback in callbacks:
        hooks = _overridden(callback)
        if hooks:
            raise InputError(
                f"The callback {type(callback).__name__} uses {hooks[0]}, and the engine "
                "`compiled` runs whole epochs without returning to Python. Pass "
                '`engine="fit"` to use it.'
            )
