"""How a prompt ended, with its outputs. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpu_worker.comfy.spool import Span


@dataclass(frozen=True, slots=True)
class NodeProblem:
    """One error that ComfyUI found in one node of a graph, without running it."""

    node_id: str
    node_type: str | None
    type: str
    message: str
    input_name: str | None = None

    @property
    def text(self) -> str:
        """The message with the input that it is about."""
        return f"{self.message} (input {self.input_name})" if self.input_name else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class SentPicture:
    """A picture that an output node sent over the socket in place of writing a file."""

    node: str
    node_type: str | None
    number: int  # among the pictures of its node, from 1
    content_type: str  # image/png, image/jpeg or image/webp
    body: Span

    @property
    def name(self) -> str:
        """The name of the file that it is stored as."""
        return f"image_{self.node}_{self.number:05}.{self.content_type.removeprefix('image/')}"

    def read(self) -> bytes:
        """The whole picture. It may be on disk, so do not call this on the event loop."""
        return self.body.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """What every outcome knows."""

    ran_seconds: float = 0.0  # from the start of the execution to its end or the request to stop


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSucceeded(_Ended):
    """The prompt ran to its end.

    `nodes_cached`: the nodes with results of an earlier run.
    `cached`: these are all nodes but those that must run each time because they touch files.
    `problems`: errors in outputs of the graph that ComfyUI left out while it ran the others.
    `pictures_left_out`: how many more pictures were sent than a prompt may send.
    """

    outputs: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    nodes_cached: frozenset[str] = frozenset()
    pictures: tuple[SentPicture, ...] = ()  # in the order in which they were sent
    pictures_left_out: int = 0
    problems: tuple[NodeProblem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFailed(_Ended):
    """A node raised. The traceback (server paths) and the node's inputs are left out."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[SentPicture, ...] = ()  # sent before the failure


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptQueuedPrompts(_Ended):
    """A node queued further prompts by itself. They are removed, and the job is not complete."""

    node_id: str | None = None
    node_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesLost(_Ended):
    """The prompt succeeded, but pictures that this node sent over the socket may not have come."""

    node_id: str | None = None
    node_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInterrupted(_Ended):
    """The prompt was stopped. The node is the one that ran last, if any is known to have run."""

    node_id: str | None = None
    node_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLost(_Ended):
    """The server does not know the prompt any more: it has restarted, or the prompt was deleted.

    The node is the one that ran last, if any is known to have run.
    """

    node_id: str | None = None
    node_type: str | None = None


Outcome = (
    PromptSucceeded
    | PromptFailed
    | PromptQueuedPrompts
    | PicturesLost
    | PromptInterrupted
    | PromptLost
)
