"""One prompt as ComfyUI tells of it: frames and history entries in, events and an outcome out.

No I/O, no clock. The rules, each seen on a real server (tests/recordings):

- Truth is the history entry: its `status_str` and the last of its `status.messages`. Success and
  the final `executing` with a null node are only reasons to look there, since the entry is written
  between the two and both also follow what is no success.
- Anything may be missing (no replay after a reconnect, a stalled reader elsewhere stops delivery),
  come for another prompt, or without a prompt_id. Nothing that comes in raises.
- A preview is taken only in the frame that names its prompt (event 4). The older one (event 1) says
  nothing but the picture, and the server sends it to us for prompts that have no client, too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyline.service.jobs.progress import Progress
from gpu_worker.comfy.progress import ProgressFold
from gpu_worker.comfy.shapes import fields, items

MAX_MESSAGE_LENGTH = 1000  # of an error's text; the row that holds it stays small
MAX_PREVIEW_BYTES = 2 * 1024 * 1024  # a sampler's have some 54 kB; a node may send what it likes

_PREVIEW_WITH_METADATA = 4
_HEADER = struct.Struct(">II")  # the event and the length of the metadata
_PREVIEW_TYPES = ("image/jpeg", "image/png")  # all that ComfyUI makes


@dataclass(frozen=True, slots=True)
class Started:
    """The engine executes the prompt."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """The prompt is further."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Previewed:
    """A picture of the prompt in the making."""

    content_type: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """The prompt seems to have ended: look at its history now."""


Event = Started | Progressed | Previewed | HistoryWanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """It ran to its end; `cached` if some of its nodes were taken from an earlier run."""

    outputs: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A node raised. Server paths (traceback) and user inputs are left behind."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Somebody stopped it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The server knows nothing of it any more: it has restarted, or the prompt was deleted."""


Outcome = Succeeded | Failed | Interrupted | Lost


class PromptRun:
    """Follows one prompt. Feed it everything; it picks what is its own."""

    def __init__(self, prompt_id: str, graph: Mapping[str, Mapping[str, Any]]) -> None:
        self.prompt_id = prompt_id
        self.outcome: Outcome | None = None
        self.started = False
        self._fold = ProgressFold(graph)
        self._cached = False

    # Public methods for receiving

    def receive(self, frame: str | bytes) -> list[Event]:
        """What one socket frame says about this prompt."""
        if self.outcome is not None:
            return []
        if isinstance(frame, bytes):
            preview = _preview(frame, self.prompt_id)
            return [] if preview is None else [*self._start(), preview]
        if (message := _parsed(frame)) is None:
            return []
        kind, data = message
        if data.get("prompt_id") != self.prompt_id:
            return []
        handle = getattr(self, f"_on_{kind}", None)
        events = self._start() if kind in _SIGNS_OF_LIFE else []
        return [*events, *handle(data)] if handle else events

    def seen_running(self) -> list[Event]:
        """It was seen to run, whatever the socket told."""
        return self._start()

    def receive_history(self, entry: Mapping[str, Any] | None) -> Outcome | None:
        """The outcome, if the history entry tells one; kept as `outcome`."""
        if self.outcome is None and entry is not None:
            self.outcome = self._outcome_of(entry)
        return self.outcome

    # Private methods for the kinds of message

    def _start(self) -> list[Event]:
        if self.started:
            return []
        self.started = True
        return [Started()]

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
        return [] if progress is None else [Progressed(progress)]

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
            return Succeeded(outputs=outputs, cached=self._cached or _names_cached(messages))
        kind, data = messages[-1] if messages else ("execution_error", {})
        if kind == "execution_interrupted":
            return Interrupted()
        return _failure(data, outputs)


_SIGNS_OF_LIFE = frozenset(
    {"execution_start", "execution_cached", "executing", "progress", "progress_state", "executed"}
)


def _preview(frame: bytes, prompt_id: str) -> Previewed | None:
    """The picture in a binary frame; None for another prompt's and whatever is no preview."""
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
    return Previewed(content_type, frame[picture_at:])


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)  # reads the bare NaN that ComfyUI may send
    except (ValueError, RecursionError):
        return None


def _parsed(frame: str) -> tuple[str, Mapping[str, Any]] | None:
    """The type and data of a text frame; None for whatever is no message."""
    message = _json(frame)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    data = message.get("data")
    return (message["type"], data) if isinstance(data, dict) else None


def _shown_node(data: Mapping[str, Any]) -> str:
    """The node of the submitted graph; inside an expanded subgraph `node` is not one."""
    return str(data.get("display_node") or data.get("node"))


def _names_cached(messages: list[tuple[Any, dict[str, Any]]]) -> bool:
    return any(kind == "execution_cached" and data.get("nodes") for kind, data in messages)


def _failure(data: Mapping[str, Any], outputs: Mapping[str, Any]) -> Failed:
    message = str(data.get("exception_message") or "The node failed without a message.").strip()
    return Failed(
        type=str(data.get("exception_type") or "unknown"),
        message=message[:MAX_MESSAGE_LENGTH],
        node_id=_text_or_none(data.get("node_id")),
        node_type=_text_or_none(data.get("node_type")),
        outputs=outputs,
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
