"""The parts of a simulator, which all prompts share, and the state of its executor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import IOBase
from typing import Any

from comfyui_sim.faults import Switchboard
from comfyui_sim.hub import Hub
from comfyui_sim.node_types import NodeResult, NodeType
from comfyui_sim.options import Exit, Folders, Options
from comfyui_sim.prompt_queue import PromptQueue

# ComfyUI keeps results until memory is short. The simulator keeps this many.
CACHED_RESULTS = 200


class Interrupted(Exception):
    """The prompt was interrupted."""


def now_ms() -> int:
    """Milliseconds since the epoch, ComfyUI's timestamps."""
    return time.time_ns() // 1_000_000


class ResultCache:
    """Node results by signature. Beyond `CACHED_RESULTS`, the least recently used is dropped."""

    def __init__(self) -> None:
        self._results: dict[str, NodeResult] = {}

    def find(self, signature: str) -> NodeResult | None:
        """The result, or None. A result that is found becomes the most recently used one."""
        result = self._results.pop(signature, None)
        if result is not None:
            self._results[signature] = result
        return result

    def keep(self, signature: str, result: NodeResult) -> None:
        """Add a result."""
        self._results[signature] = result
        if len(self._results) > CACHED_RESULTS:
            del self._results[next(iter(self._results))]

    def clear(self) -> None:
        """Drop all results, as `POST /free` requests."""
        self._results.clear()


class State:
    """Result cache, interrupt flag and current node of the executor.

    It is used on the event loop only.
    """

    def __init__(self) -> None:
        self.cache = ResultCache()
        self._memories: dict[tuple[str, str], dict[str, Any]] = {}
        self.executed: list[str] = []  # prompt ids in the order in which execution began
        self.interrupt_wanted = False
        self.free_wanted = False
        self._owner: Any = None
        self._node: str | None = None

    def begin(self, prompt_id: str, client_id: Any) -> None:
        """Begin a prompt. As in ComfyUI, an interrupt that was requested before is dropped."""
        if self.free_wanted:
            self.cache.clear()
        self.free_wanted = self.interrupt_wanted = False
        self.executed.append(prompt_id)
        self._owner, self._node = client_id, None

    def memory(self, node_id: str, class_type: str) -> dict[str, Any]:
        """The values that the instance of a node class with this id keeps between prompts."""
        return self._memories.setdefault((node_id, class_type), {})

    def close(self) -> None:
        """Close the files that nodes still have open, as the end of ComfyUI's process does."""
        for memory in self._memories.values():
            for value in memory.values():
                if isinstance(value, IOBase):
                    value.close()

    def entered(self, node_id: str | None) -> None:
        """Remember the running node, because a socket that connects now receives it."""
        self._node = node_id

    def executing_node(self, client_id: str) -> str | None:
        """The running node, if this client owns the running prompt."""
        return self._node if client_id == self._owner else None

    def raise_if_interrupted(self) -> None:
        """Raise `Interrupted` once for each requested interrupt."""
        if self.interrupt_wanted:
            self.interrupt_wanted = False
            raise Interrupted


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts of one simulator."""

    options: Options
    folders: Folders
    types: Mapping[str, NodeType]
    faults: Switchboard
    hub: Hub
    queue: PromptQueue
    exit_process: Exit
    state: State
