"""Follow one prompt: socket frames and history entries in, events and an outcome out.

No I/O, no clock. The rules, each observed on a real server (tests/recordings):

- The history entry decides (see `history`). `execution_success` and the final `executing` with a
  null node are only reasons to look there: the entry is written between the two, and both also come
  when the prompt did not succeed. It may be there before the socket has delivered all pictures.
- Any message may be missing (ComfyUI replays nothing after a reconnect, and a stalled reader
  elsewhere stops the delivery), belong to another prompt, or lack a prompt_id. No input raises.
- Event 4 names the prompt and the node of a picture. Event 1 has only the picture: it belongs to
  the node that is executing. Whether it is a result depends on the node's class (`Senders`). A
  preview is taken only from event 4, because ComfyUI also sends us those of prompts without client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from comfyline.service.jobs.progress import Progress
from gpu_worker.comfy.cache_buster import must_run
from gpu_worker.comfy.frames import PictureFrame, TextFrame, parsed, read_frame
from gpu_worker.comfy.history import executed_seconds, merged, outcome_of, unfinished_node
from gpu_worker.comfy.outcomes import Outcome, PromptSucceeded
from gpu_worker.comfy.progress_fold import ProgressFold
from gpu_worker.comfy.senders import Senders
from gpu_worker.comfy.shapes import fields, items, node_id

MAX_PREVIEW_BYTES = 2 * 1024 * 1024  # a sampler sends some 54 kB; a custom node may send more

_PREVIEW_TYPES = ("image/jpeg", "image/png")  # the only two that ComfyUI makes
_ANY_PREVIEWS = Senders()


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
class PictureSent:
    """A picture that is a result of the prompt."""

    node: str
    node_type: str
    content_type: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """The prompt seems to have ended: look at its history now."""


Event = PromptStarted | PromptProgressed | PromptPreviewed | PictureSent | HistoryWanted


class PromptRun:
    """Follows one prompt, and the further rounds of it that are adopted.

    Give it every frame; it ignores those of other prompts.
    """

    def __init__(
        self,
        prompt_id: str,
        graph: Mapping[str, Mapping[str, Any]],
        senders: Senders = _ANY_PREVIEWS,
        *,
        adopts: bool = False,
    ) -> None:
        """`adopts`: each other prompt that starts for this client is a round of this one."""
        self.prompt_id = prompt_id
        self.started = False  # a message or the queue has shown that the prompt runs
        self.frames = 0  # how many frames were about this prompt: each is a sign of life
        self.last_node: str | None = None  # the last that is known to have run
        self.pending_end = {prompt_id}  # rounds that have not ended, as far as the socket shows
        self._types = {node: str(spec.get("class_type")) for node, spec in graph.items()}
        self._senders, self._adopts_all = senders, adopts
        self._fold = ProgressFold(graph)
        self._node: str | None = None  # the node that executes now, as far as the socket shows
        self._cacheable = {n for n, spec in graph.items() if not must_run(spec)}
        self._rounds: dict[str, Outcome | None] = {prompt_id: None}
        self._seconds: dict[str, float | None] = {}  # by ComfyUI's clock, of rounds that have ended

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the prompt and of its adopted rounds."""
        return frozenset(self._rounds)

    @property
    def open_ids(self) -> list[str]:
        """The ids of rounds that have not ended, as far as the history shows."""
        return [prompt_id for prompt_id, outcome in self._rounds.items() if outcome is None]

    @property
    def outcome(self) -> Outcome | None:
        """None until the history shows the end of every round."""
        ended = [outcome for outcome in self._rounds.values() if outcome is not None]
        if len(ended) < len(self._rounds):
            return None
        outcome = ended[0] if len(ended) == 1 else merged(ended)
        if isinstance(outcome, PromptSucceeded) and self._cacheable:
            return replace(outcome, cached=self._cacheable <= outcome.nodes_cached)
        return outcome

    @property
    def executed_seconds(self) -> float | None:
        """How long the ended rounds were executed by ComfyUI's clock; None if it does not say."""
        seconds = [each for each in self._seconds.values() if each is not None]
        return sum(seconds) if seconds and len(seconds) == len(self._seconds) else None

    @property
    def unfinished_node(self) -> str | None:
        """The node that has queued another round which is not adopted."""
        found = [node for each in self._rounds.values() if (node := unfinished_node(each))]
        return found[-1] if len(found) >= len(self._rounds) else None

    @property
    def sender(self) -> str | None:
        """A node that exists to send pictures, so that none may be lost; None without one."""
        found = (node for node, kind in self._types.items() if self._senders.sends_results(kind))
        return next(found, None)

    @property
    def may_send(self) -> bool:
        """Whether some node of the graph might send results over the socket."""
        return any(map(self._senders.may_send, self._types.values()))

    def type_of(self, node: str | None) -> str | None:
        """The class of a node of the graph."""
        return None if node is None else self._types.get(node)

    def adopt(self, prompt_id: str) -> None:
        """Follow this prompt too, which a node of this one has queued as its next round."""
        if prompt_id not in self._rounds:
            self._rounds[prompt_id] = None
            self.pending_end.add(prompt_id)

    # Public methods for receiving

    def receive(self, frame: str | bytes) -> list[Event]:
        """The events that one socket frame means for this prompt. After its end only pictures.

        The start of a further round may come later than the history with the end of the last one.
        """
        if self.outcome is not None and not self.pending_end and not self.unfinished_node:
            return []
        events = self._on_binary(frame) if isinstance(frame, bytes) else self._on_text(frame)
        if self.outcome is None:
            return events
        return [event for event in events if isinstance(event, PictureSent)]

    def start(self) -> list[Event]:
        """A message or the queue has shown that the prompt runs. Only the first call counts."""
        if self.started:
            return []
        self.started = True
        return [PromptStarted()]

    def receive_history(
        self, entry: Mapping[str, Any] | None, prompt_id: str | None = None
    ) -> Outcome | None:
        """The outcome, if this entry completes it. Of each round the first entry counts."""
        prompt_id = prompt_id or self.prompt_id
        if entry is not None and self._rounds.get(prompt_id) is None:
            self._rounds[prompt_id] = outcome_of(entry)
            self._seconds[prompt_id] = executed_seconds(entry)
        return self.outcome

    # Private methods for binary frames

    def _on_binary(self, frame: bytes) -> list[Event]:
        content = read_frame(frame)
        if isinstance(content, PictureFrame):
            return self._on_picture(content)
        if isinstance(content, TextFrame) and self._node is not None:
            self.frames += 1
        return []

    def _on_picture(self, frame: PictureFrame) -> list[Event]:
        node = frame.node or self._node
        if (self._node is None) if frame.prompt_id is None else frame.prompt_id not in self.ids:
            return []
        self.frames += 1
        node_type = self.type_of(node)
        if node and node_type and self._senders.is_result(node_type, frame.content_type):
            sent = PictureSent(node, node_type, frame.content_type, frame.picture)
            return [*self.start(), sent]
        if frame.prompt_id is None or not _is_preview(frame):
            return []
        return [*self.start(), PromptPreviewed(frame.content_type, frame.picture)]

    # Private methods for the kinds of message

    def _on_text(self, frame: str) -> list[Event]:
        message = fields(parsed(frame))
        kind, data = message.get("type"), message.get("data")
        if not isinstance(kind, str) or not isinstance(data, dict):
            return []
        prompt_id = data.get("prompt_id")
        if self._adopts_all and kind == "execution_start" and isinstance(prompt_id, str):
            self.adopt(prompt_id)
        if not isinstance(prompt_id, str) or prompt_id not in self._rounds:
            if isinstance(prompt_id, str) and kind in _SIGNS_OF_LIFE:
                self._node = None  # ComfyUI executes one prompt at a time
            return []
        self.frames += 1
        handle = getattr(self, f"_on_{kind}", None) if kind in _KINDS else None
        events = self.start() if kind in _SIGNS_OF_LIFE else []
        return [*events, *handle(data)] if handle else events

    def _on_execution_cached(self, data: Mapping[str, Any]) -> list[Event]:
        return self._moved(self._fold.cached(str(node) for node in items(data.get("nodes"))))

    def _on_executing(self, data: Mapping[str, Any]) -> list[Event]:
        if data.get("node") is None:
            return self._ended(data)
        if (node := _shown_node(data)) is None:
            return []
        self._node = self.last_node = node
        return self._moved(self._fold.executing(node))

    def _on_progress(self, data: Mapping[str, Any]) -> list[Event]:
        node = str(node_id(data.get("node")))
        return self._moved(self._fold.stepped(node, data.get("value"), data.get("max")))

    def _on_progress_state(self, data: Mapping[str, Any]) -> list[Event]:
        nodes = data.get("nodes")
        return self._moved(self._fold.states(nodes)) if isinstance(nodes, dict) else []

    def _on_executed(self, data: Mapping[str, Any]) -> list[Event]:
        node = _shown_node(data)
        return [] if node is None else self._moved(self._fold.finished(node))

    def _ended(self, data: Mapping[str, Any]) -> list[Event]:
        """ComfyUI sends nothing of a prompt's nodes after this, so all its pictures have come."""
        self._node = None
        self.pending_end.discard(data["prompt_id"])
        return [HistoryWanted()]

    def _on_execution_error(self, _data: Mapping[str, Any]) -> list[Event]:
        return [HistoryWanted()]  # ComfyUI also sends it for a branch that a node blocks

    _on_execution_success = _on_execution_interrupted = _ended

    def _moved(self, progress: Progress | None) -> list[Event]:
        return [] if progress is None else [PromptProgressed(progress)]


_SIGNS_OF_LIFE = frozenset(
    {"execution_start", "execution_cached", "executing", "progress", "progress_state", "executed"}
)
_KINDS = _SIGNS_OF_LIFE | {"execution_success", "execution_error", "execution_interrupted"}


def _is_preview(frame: PictureFrame) -> bool:
    return frame.content_type in _PREVIEW_TYPES and len(frame.picture) <= MAX_PREVIEW_BYTES


def _shown_node(data: Mapping[str, Any]) -> str | None:
    """The node of the submitted graph. Inside an expanded subgraph, `node` is not in that graph."""
    return node_id(data.get("display_node") or data.get("node"))
