"""Node classes: their inputs, their outputs, their entry in `/object_info`, and their work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from comfyui_sim.options import Folders, Options

Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The values of a node's output slots and, for output nodes, its `ui` value."""

    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


class NodeContext(Protocol):
    """The parts of the simulator that a running node may use."""

    @property
    def options(self) -> Options:
        """The start options of the simulator."""

    @property
    def folders(self) -> Folders:
        """The folders for files."""

    @property
    def prompt(self) -> Mapping[str, Any]:
        """The whole graph."""

    @property
    def extra_data(self) -> Mapping[str, Any]:
        """The `extra_data` of the request."""

    async def sleep(self, seconds: float) -> None:
        """Work that ignores interrupts. The `time_scale` option scales the time."""

    async def step(self) -> None:
        """One sampler step, `step_ms` long."""

    async def progress(
        self, value: int, total: int, preview: Callable[[], bytes] | None = None
    ) -> None:
        """Report progress. An interrupt takes effect here."""


Run = Callable[[NodeContext, Inputs], Awaitable[NodeResult]]


def in_thread(work: Callable[[NodeContext, Inputs], NodeResult]) -> Run:
    """Run CPU or file work in a thread, so that it does not block the event loop."""

    async def run(context: NodeContext, inputs: Inputs) -> NodeResult:
        return await asyncio.to_thread(work, context, inputs)

    return run


@dataclass(frozen=True, slots=True)
class NodeType:
    """A node class. `check` and `content` are for inputs that name files, such as LoadImage's."""

    name: str
    display_name: str
    category: str
    run: Run
    required: dict[str, list[Any]]
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    output_node: bool = False
    hidden: dict[str, str] = field(default_factory=dict)
    description: str = ""
    search_aliases: tuple[str, ...] = ()
    essentials_category: str | None = None
    python_module: str = "nodes"
    check: Callable[[Folders, Inputs], tuple[str, str] | None] | None = None
    content: Callable[[Folders, Inputs], str] | None = None

    def object_info(self) -> dict[str, Any]:
        """The entry of `GET /object_info`."""
        inputs: dict[str, Any] = {"required": self.required}
        order = {"required": list(self.required)}
        if self.hidden:
            inputs["hidden"] = self.hidden
            order["hidden"] = list(self.hidden)
        info = {
            "input": inputs,
            "input_order": order,
            "is_input_list": False,
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.output_names or self.outputs),
            "name": self.name,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": self.python_module,
            "category": self.category,
            "output_node": self.output_node,
            "has_intermediate_output": False,
            "search_aliases": list(self.search_aliases),
        }
        if self.essentials_category is not None:
            info["essentials_category"] = self.essentials_category
        return info
