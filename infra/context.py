"""The CDK context, read key by key; each wrong value is refused with the name of its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ContextLookup = Callable[[str], Any]  # the value of a context key, None where it is not given


@dataclass(frozen=True, slots=True)
class Context:
    """What was given, and what counts where nothing was.

    Every reader raises:
        ValueError: the key is missing and has no default, or its value is not of that kind; the
            message names it.
    """

    lookup: ContextLookup
    defaults: Mapping[str, Any]

    def text(self, key: str) -> str:
        """A value that must be there."""
        given = self._given(key)
        if given == "":
            raise ValueError(f"context key {key!r} is required: add -c {key}=<value>")
        return given

    def optional(self, key: str) -> str | None:
        """A value that may be missing."""
        return self._given(key) or None

    def number(self, key: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        given = self.text(key)
        try:
            number = int(given)
        except ValueError:
            raise ValueError(f"context key {key!r} is a whole number, not {given!r}") from None
        if not low <= number <= high:
            raise ValueError(f"context key {key!r} is from {low} to {high}, not {number}")
        return number

    def switch(self, key: str) -> bool:
        """`true` or `false`."""
        return self.choice(key, "true", "false") == "true"

    def choice(self, key: str, *choices: str) -> str:
        """One of `choices`."""
        given = self.text(key)
        if given.lower() not in choices:
            raise ValueError(f"context key {key!r} is one of {', '.join(choices)}, not {given!r}")
        return given.lower()

    def items(self, key: str) -> tuple[str, ...]:
        """What stands between commas; nothing is an empty tuple."""
        return tuple(item for item in map(str.strip, self._given(key).split(",")) if item)

    def _given(self, key: str) -> str:
        given = self.lookup(key)
        if given is None:
            given = self.defaults.get(key, "")
        return str(given).strip()
