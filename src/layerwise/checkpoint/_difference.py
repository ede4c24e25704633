"""How two long texts differ, for people."""

from __future__ import annotations


def where_they_differ(old: str, new: str, most: int = 120) -> tuple[str, str]:
    """Two texts, long ones cut to the neighbourhood of their first difference."""
    if max(len(old), len(new)) <= most:
        return old, new
    first = next(
        (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
        min(len(old), len(new)),
    )
    start = max(0, first - most // 2)
    return tuple(f"...{text[start : start + most]}..." for text in (old, new))  # type: ignore[return-value]
