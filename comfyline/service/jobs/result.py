"""What an attempt has made: its files, the values that its nodes reported, and its warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.texts import shorten

MAX_WARNING = 500  # characters of a warning's message


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One stored output file. `key` is its name in the artifact store.

    A longer node id is cut, because a node can make nodes with any id.
    """

    key: str
    name: str
    kind: str
    content_type: str
    bytes: int
    sha256: str
    node: str
    temporary: bool = False  # a preview; stored only if the graph made nothing else

    def __post_init__(self) -> None:
        shorten(self, node=MAX_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWarning:
    """Something that went wrong without making the job fail. `type` is a stable name.

    Longer texts are cut, because nodes and callers choose the names in them.
    """

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None

    def __post_init__(self) -> None:
        shorten(self, type=MAX_NAME, message=MAX_WARNING, node_id=MAX_NAME, node_type=MAX_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What an attempt has made, as far as it could be stored."""

    artifacts: tuple[Artifact, ...] = ()  # in the order of their numbers, from 0
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # JSON, by node and key
    values_cut: tuple[str, ...] = ()  # `<node>.<key>` of reported values that had no room
    warnings: tuple[ResultWarning, ...] = ()
    is_partial: bool = False  # some outputs of the graph are missing; `warnings` say which
    empty_reason: str | None = None  # why a job that succeeded made neither a file nor a value


def explained(result: JobResult) -> JobResult:
    """The result of a prompt that succeeded; if it is empty, with the reason."""
    has_content = result.artifacts or result.values or result.values_cut
    if has_content or result.empty_reason is not None:
        return result
    return replace(result, empty_reason=_ALL_MISSING if result.warnings else _NOTHING_REPORTED)


_ALL_MISSING = "Nothing that the workflow made could be stored. The warnings name the reasons."
_NOTHING_REPORTED = "The workflow has run, but its nodes have written neither a file nor a value."
