"""What can go wrong, each kind a class; messages say what was expected, what came, what to do."""

from __future__ import annotations


class LayerwiseError(Exception):
    """The root of every error that layerwise raises on purpose."""


class InputError(LayerwiseError, ValueError):
    """A value that the user gave cannot be used."""


class InputTypeError(LayerwiseError, TypeError):
    """An object of the wrong kind was given."""


class DivergedError(LayerwiseError, ArithmeticError):
    """No stage ended with finite loss and weights, so there is no model to hand back."""


class FreezeError(LayerwiseError, RuntimeError):
    """The audit found that a frozen block has changed."""


class DamagedError(LayerwiseError, ValueError):
    """A file is not what was written: its hash differs, or it breaks the format."""


class UnknownFormatError(DamagedError):
    """A whole file of a format that this version cannot read."""


class DiskFullError(LayerwiseError, RuntimeError):
    """There is no room on the disk; nothing that was there is lost."""


class RunLockedError(LayerwiseError, RuntimeError):
    """Another process works on the run folder; the message says which."""


class MissingDependencyError(LayerwiseError, ImportError):
    """An optional package is needed; the message says how to install it."""


def complaint(name: str, expected: str, received: object, advice: str = "") -> str:
    """One message in the house's form.

    >>> complaint("validation_split", "lie between 0 and 1", 1.5)
    '`validation_split` must lie between 0 and 1. Received: 1.5.'
    """
    text = f"`{name}` must {expected}. Received: {received!r}."
    return f"{text} {advice}" if advice else text


def visible(text: str) -> str:
    r"""The text with control characters shown, not sent: a name may hold any.

    >>> visible("evil\x1b[2J name")
    'evil\\x1b[2J name'
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
