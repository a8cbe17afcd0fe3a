"""Bound a job's result, because a node can report anything: any depth, any number, any size.

A value or warning beyond the bounds is left out as a whole, and the result says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, TypeVar

from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs.result import MAX_WARNING, JobResult, ResultWarning
from comfyline.service.texts import shortened, valid_text

MAX_VALUES_BYTES = 64 * 1024  # of all values as JSON; they are returned with every read of the job
MAX_VALUE_DEPTH = 16  # lists and objects in each other, those of node and key included
MAX_INTEGER_BITS = 1024  # no useful number is longer, and many JSON libraries refuse such a number
MAX_CUT_NAMES, MAX_CUT_NAMES_BYTES = 100, 16 * 1024
MAX_WARNINGS, MAX_WARNINGS_BYTES = 100, 32 * 1024

T = TypeVar("T")


def bounded(result: JobResult) -> JobResult:
    """The result, small enough to be stored beside its artifacts and to be shown.

    It is plain JSON: NaN and the infinities become the texts `NaN`, `Infinity` and `-Infinity`, and
    half of a surrogate pair becomes U+FFFD. The names of values that were cut are listed. If there
    are too many names or warnings, the first are kept, and a last warning counts the others.
    """
    values, cut = _bounded_values(result.values)
    all_cut = [*(shortened(name, MAX_NAME) for name in result.values_cut), *cut]
    names = _first(all_cut, MAX_CUT_NAMES, MAX_CUT_NAMES_BYTES)
    short = _first(map(asdict, result.warnings), MAX_WARNINGS, MAX_WARNINGS_BYTES)
    warnings = [ResultWarning(**fields) for fields in short]
    left_out = [
        *_left_out("values_cut", "names of values without room", len(all_cut) - len(names)),
        *_left_out("more_warnings", "warnings", len(result.warnings) - len(warnings)),
    ]
    return replace(
        result,
        values=values,
        values_cut=tuple(names),
        warnings=(*warnings, *left_out),
        empty_reason=shortened(result.empty_reason, MAX_WARNING) if result.empty_reason else None,
    )


def _first(items: Iterable[T], count: int, room: int) -> list[T]:
    """The first `count` items, or fewer if they do not have room as JSON."""
    copy = _Copy(room)
    kept: list[T] = []
    with suppress(_NoRoom):
        for item in islice(items, count):
            kept.append(copy.of(item))
    return kept


def _left_out(type_: str, what: str, count: int) -> Iterator[ResultWarning]:
    if count > 0:
        yield ResultWarning(type=type_, message=f"{count:,} further {what} are left out.")


def _bounded_values(
    reported: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The values that have room, and the names of the others."""
    values: dict[str, dict[str, Any]] = {}
    cut = []
    room = MAX_VALUES_BYTES
    for node, key, value in ((n, k, v) for n, keys in reported.items() for k, v in keys.items()):
        copy = _Copy(room)
        try:
            [(name, kept)] = copy.of({node: {key: value}}).items()
        except _NoRoom:
            cut.append(shortened(f"{node}.{key}", MAX_NAME))
        else:
            values.setdefault(name, {}).update(kept)
            room = copy.room
    return values, cut


class _NoRoom(Exception):
    """The value is too large, too deep, or not JSON."""


class _Copy:
    """Copies a value as plain JSON, and takes as many bytes of `room` as the JSON has or more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def of(self, value: Any, depth: int = 0) -> Any:
        """The copy.

        Raises:
            _NoRoom: the value is too large, too deep, or not JSON.
        """
        match value:
            case Mapping() | list() | tuple():
                return self._of_container(value, depth + 1)
            case str() if len(value) <= self.room:
                plain: Any = valid_text(value)
            case float() if not math.isfinite(value):
                plain = _NOT_FINITE.get(value, "NaN")
            case int() if value.bit_length() > MAX_INTEGER_BITS:
                raise _NoRoom
            case None | bool() | int() | float():
                plain = value
            case _:
                raise _NoRoom
        self._take(len(json.dumps(plain, ensure_ascii=False).encode()) + 1)  # and a comma or colon
        return plain

    def _of_container(self, value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Any:
        self._take(2)
        if depth > MAX_VALUE_DEPTH:
            raise _NoRoom
        if isinstance(value, Mapping):
            return {self.of(str(name)): self.of(part, depth) for name, part in value.items()}
        return [self.of(part, depth) for part in value]

    def _take(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise _NoRoom


_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
