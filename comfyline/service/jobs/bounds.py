"""Bound a job's result, because a node can report anything: any depth, any number, any size.

What has no room is left out as a whole and named, so that nothing is lost without a word.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs.result import Artifact, JobResult, ResultWarning

MAX_VALUES_BYTES = 64 * 1024  # of all values as JSON; they are returned with every read of the job
MAX_VALUE_DEPTH = 16  # lists and objects in each other, those of node and key included
MAX_INTEGER_BITS = 1024  # no useful number is longer, and many JSON libraries refuse such a number
MAX_CUT_NAMES = 100
MAX_WARNINGS = 100
MAX_MESSAGE = 500  # characters


def bounded(result: JobResult) -> JobResult:
    """The result, small enough to be stored beside its artifacts and to be shown.

    It is plain JSON: NaN and the infinities become the texts `NaN`, `Infinity` and `-Infinity`, and
    half of a surrogate pair becomes U+FFFD. The names of values that were cut are listed. Of many
    names and warnings the first are kept, and a last warning tells how many are left out.
    """
    values, cut = _bounded_values(result.values)
    cut = [*(_text(name, MAX_NAME) for name in result.values_cut), *cut]
    warnings = [*map(_bounded_warning, result.warnings[:MAX_WARNINGS])]
    warnings += _left_out("values_cut", "names of values without room", cut, MAX_CUT_NAMES)
    warnings += _left_out("more_warnings", "warnings", result.warnings, MAX_WARNINGS)
    return replace(
        result,
        artifacts=tuple(map(bounded_artifact, result.artifacts)),
        values=values,
        values_cut=tuple(cut[:MAX_CUT_NAMES]),
        warnings=tuple(warnings),
        empty_reason=_text(result.empty_reason, MAX_MESSAGE) if result.empty_reason else None,
    )


def bounded_artifact(artifact: Artifact) -> Artifact:
    """The artifact with a node id of bounded length: a node can make nodes with any id."""
    return (
        artifact
        if len(artifact.node) <= MAX_NAME
        else replace(artifact, node=_text(artifact.node, MAX_NAME))
    )


def _bounded_warning(warning: ResultWarning) -> ResultWarning:
    return ResultWarning(
        type=_text(warning.type, MAX_NAME),
        message=_text(warning.message, MAX_MESSAGE),
        node_id=_text(warning.node_id, MAX_NAME) if warning.node_id is not None else None,
        node_type=_text(warning.node_type, MAX_NAME) if warning.node_type is not None else None,
    )


def _left_out(type_: str, what: str, all_: Sequence[object], shown: int) -> Iterator[ResultWarning]:
    if (count := len(all_) - shown) > 0:
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
            cut.append(_text(f"{node}.{key}", MAX_NAME))
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
            _NoRoom: see there.
        """
        match value:
            case Mapping() | list() | tuple():
                return self._of_container(value, depth + 1)
            case str() if len(value) <= self.room:
                plain: Any = _text(value)
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


def _text(text: str, limit: int | None = None) -> str:
    """The text as valid Unicode, shortened to `limit` characters."""
    valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return valid if limit is None or len(valid) <= limit else valid[: limit - 1] + "…"
