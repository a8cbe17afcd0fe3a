"""How far an attempt is; the worker computes it from ComfyUI's messages."""

from __future__ import annotations

from dataclasses import dataclass

from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.texts import shorten


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of an attempt; `fraction` is between 0 and 1 and never falls within an attempt.

    Longer texts are cut, because a node can make nodes with any id and class.
    """

    fraction: float = 0.0
    node: str | None = None
    node_type: str | None = None
    step: int | None = None
    steps: int | None = None
    nodes_done: int = 0
    nodes_total: int = 0
    message: str | None = None

    def __post_init__(self) -> None:
        shorten(self, node=MAX_NAME, node_type=MAX_NAME, message=MAX_NAME)
