"""Texts that a workflow, an engine or a caller has written: valid Unicode of a bounded length.

A type that holds such a text calls `shorten` in its `__post_init__`, so that no value of the type
can hold a text that is too long to be stored or that no encoding can write.
"""

from __future__ import annotations

from typing import Any


def valid_text(text: str) -> str:
    """The text with U+FFFD in place of each half of a surrogate pair, which is no character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shortened(text: str, limit: int) -> str:
    """The text as valid Unicode of at most `limit` characters; `…` ends a text that was cut."""
    valid = valid_text(text[: 2 * limit + 2])  # a character may be a pair of two surrogates
    return valid if len(valid) <= limit else valid[: limit - 1] + "…"


def shorten(value: Any, **limits: int) -> None:
    """Shorten the named fields of a frozen dataclass; each is a text or None."""
    for name, limit in limits.items():
        text = getattr(value, name)
        if text is not None:
            object.__setattr__(value, name, shortened(text, limit))
