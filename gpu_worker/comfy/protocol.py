"""Follow one prompt: socket frames and history entries in, events and an outcome out.

No I/O, no clock. The rules, each observed on a real server (tests/recordings):

- The history entry decides: its `status_str` and the last of its `status.messages`.
  `execution_success` and the final `executing` with a null node are only reasons to look there: the
  entry is written between the two, and both also come when the prompt did not succeed.
- Any message may be missing (ComfyUI replays nothing after a reconnect, and a stalled reader
  elsewhere stops the delivery), belong to another prompt, or lack a prompt_id. No input raises.
- A preview is taken only from the frame that names its prompt (event 4). The older frame (event 1)
  has only the picture, and the server also sends us those of prompts that have no client.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyline.service.jobs.progress import Progress
from gpu_worker.comfy.progress_fold import ProgressFold
from gpu_worker.comfy.shapes import engine_json, fields, items

MAX_MESSAGE_LENGTH = 1000  # of an error's text, because the job's row must stay small
MAX_PREVIEW_BYTES = 2 * 1024 * 1024  # a sampler sends some 54 kB; a custom node may send more

_PREVIEW_WITH_METADATA = 4
_HEADER = struct.Struct(">II")  # the event and the length of the metadata
_PREVIEW_TYPES = ("image/jpeg", "image/png")  # the only two that ComfyUI makes


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """The engine has begun to execute the prompt."""


@dataclass(frozen=True, slots=True)
class PromptProgressed:
    """The prompt has made progress."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class PromptPreviewed:
    """A picture of what the prompt has computed so far."""

    content_type: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """The prompt seems to have ended: look at its history now."""


Event = PromptStarted | PromptProgressed | PromptPreviewed | HistoryWanted


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSucceeded:
    """The prompt ran to its end. `cached`: some nodes' results come from an earlier run."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFailed:
    """A node raised. The traceback (server paths) and the node's inputs are left out."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PromptInterrupted:
    """The prompt was stopped."""


@dataclass(frozen=True, slots=True)
class PromptLost:
    """The server does not know the prompt any more: it has restarted, or the prompt was deleted."""


Outcome = PromptSucceeded | PromptFailed | PromptInterrupted | PromptLost


class PromptRun:
    """Follows one prompt. Give it every frame; it ignores those of other prompts."""

    def __init__(self, prompt_id: str, graph: Mapping[str, Mapping[str, Any]]) -> None:
        self.prompt_id = prompt_id
        self.outcome: Outcome | None = None  # None until the history shows it
        self.started = False  # a message or the queue has shown that the prompt runs
        self._fold = ProgressFold(graph)
        self._cached = False  # a message has named cached nodes

    # Public methods for receiving

    def receive(self, frame: str | bytes) -> list[Event]:
        """The events that one socket frame means for this prompt."""
        if self.outcome is not None:
            return []
        if isinstance(frame, bytes):
            preview = _preview(frame, self.prompt_id)
            return [] if preview is None else [*self.start(), preview]
        if (message := _parsed(frame)) is None:
            return []
        kind, data = message
        if data.get("prompt_id") != self.prompt_id:
            return []
        handle = getattr(self, f"_on_{kind}", None)
        events = self.start() if kind in _SIGNS_OF_LIFE else []
        return [*events, *handle(data)] if handle else events

    def start(self) -> list[Event]:
        """A message or the queue has shown that the prompt runs. Only the first call counts."""
        if self.started:
            return []
        self.started = True
        return [PromptStarted()]

    def receive_history(self, entry: Mapping[str, Any] | None) -> Outcome | None:
        """The outcome, if the history entry has one; also kept as `outcome`."""
        if self.outcome is None and entry is not None:
            self.outcome = self._outcome_of(entry)
        return self.outcome

    # Private methods for the kinds of message

    def _on_execution_cached(self, data: Mapping[str, Any]) -> list[Event]:
        nodes = [str(node) for node in items(data.get("nodes"))]
        self._cached = self._cached or bool(nodes)
        return self._moved(self._fold.cached(nodes))

    def _on_executing(self, data: Mapping[str, Any]) -> list[Event]:
        if data.get("node") is None:
            return [HistoryWanted()]
        return self._moved(self._fold.executing(_shown_node(data)))

    def _on_progress(self, data: Mapping[str, Any]) -> list[Event]:
        return self._moved(
            self._fold.stepped(str(data.get("node")), data.get("value"), data.get("max"))
        )

    def _on_progress_state(self, data: Mapping[str, Any]) -> list[Event]:
        nodes = data.get("nodes")
        return self._moved(self._fold.states(nodes)) if isinstance(nodes, dict) else []

    def _on_executed(self, data: Mapping[str, Any]) -> list[Event]:
        return self._moved(self._fold.finished(_shown_node(data)))

    def _on_execution_success(self, _data: Mapping[str, Any]) -> list[Event]:
        return [HistoryWanted()]

    _on_execution_error = _on_execution_success
    _on_execution_interrupted = _on_execution_success

    def _moved(self, progress: Progress | None) -> list[Event]:
        return [] if progress is None else [PromptProgressed(progress)]

    # Private methods for the history

    def _outcome_of(self, entry: Mapping[str, Any]) -> Outcome | None:
        status = entry.get("status")
        if not isinstance(status, dict) or not isinstance(status.get("status_str"), str):
            return None
        outputs = fields(entry.get("outputs"))
        messages = [
            (pair[0], fields(pair[1]))
            for pair in items(status.get("messages"))
            if isinstance(pair, list) and len(pair) == 2
        ]
        if status["status_str"] == "success":
            cached = self._cached or _names_cached(messages)
            return PromptSucceeded(outputs=outputs, cached=cached)
        kind, data = messages[-1] if messages else ("execution_error", {})
        if kind == "execution_interrupted":
            return PromptInterrupted()
        return _failure(data, outputs)


_SIGNS_OF_LIFE = frozenset(
    {"execution_start", "execution_cached", "executing", "progress", "progress_state", "executed"}
)


def _preview(frame: bytes, prompt_id: str) -> PromptPreviewed | None:
    """The picture in a binary frame; None unless it is a preview of this prompt."""
    if len(frame) < _HEADER.size:
        return None
    event, length = _HEADER.unpack_from(frame)
    picture_at = _HEADER.size + length
    if event != _PREVIEW_WITH_METADATA or not 0 < len(frame) - picture_at <= MAX_PREVIEW_BYTES:
        return None
    about = fields(_json(frame[_HEADER.size : picture_at]))
    content_type = about.get("image_type")
    if about.get("prompt_id") != prompt_id or content_type not in _PREVIEW_TYPES:
        return None
    return PromptPreviewed(content_type, frame[picture_at:])


def _json(text: str | bytes) -> Any:
    try:
        return engine_json(text)
    except (ValueError, RecursionError):
        return None


def _parsed(frame: str) -> tuple[str, Mapping[str, Any]] | None:
    """The type and data of a text frame; None if it is not a message."""
    message = _json(frame)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    data = message.get("data")
    return (message["type"], data) if isinstance(data, dict) else None


def _shown_node(data: Mapping[str, Any]) -> str:
    """The node of the submitted graph. Inside an expanded subgraph, `node` is not in that graph."""
    return str(data.get("display_node") or data.get("node"))


def _names_cached(messages: list[tuple[Any, dict[str, Any]]]) -> bool:
    return any(kind == "execution_cached" and data.get("nodes") for kind, data in messages)


def _failure(data: Mapping[str, Any], outputs: Mapping[str, Any]) -> PromptFailed:
    message = str(data.get("exception_message") or "The node failed without a message.").strip()
    return PromptFailed(
        type=str(data.get("exception_type") or "unknown"),
        message=message[:MAX_MESSAGE_LENGTH],
        node_id=_text_or_none(data.get("node_id")),
        node_type=_text_or_none(data.get("node_type")),
        outputs=outputs,
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
