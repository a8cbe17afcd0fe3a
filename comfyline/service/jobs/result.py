"""What an attempt has made: its files, the values that its nodes reported, and its warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One stored output file. `key` is its name in the artifact store."""

    key: str
    name: str
    kind: str
    content_type: str
    bytes: int
    sha256: str
    node: str
    temporary: bool = False  # a preview; stored only if the graph made nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWarning:
    """Something that went wrong without making the job fail. `type` is a stable name."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What an attempt has made, without the parts of it that could not be stored."""

    artifacts: tuple[Artifact, ...] = ()  # in the order of their numbers, from 0
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # JSON, by node and key
    values_cut: tuple[str, ...] = ()  # `<node>.<key>` of reported values that had no room
    warnings: tuple[ResultWarning, ...] = ()
    is_partial: bool = False  # some outputs of the graph are missing; `warnings` say which
    empty_reason: str | None = None  # why a job that succeeded made neither a file nor a value
