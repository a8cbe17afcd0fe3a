"""What a node class is: its inputs, its outputs, how `/object_info` shows it, how it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from comfyui_sim.options import Folders, Options

Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What a node returns: values for its output slots and, for output nodes, a `ui` value."""

    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


class NodeContext(Protocol):
    """What a running node may use."""

    @property
    def options(self) -> Options:
        """What the simulator was started with."""

    @property
    def folders(self) -> Folders:
        """Where files are read and written."""

    @property
    def prompt(self) -> Mapping[str, Any]:
        """The whole graph."""

    @property
    def extra_data(self) -> Mapping[str, Any]:
        """What came with the graph."""

    async def sleep(self, seconds: float) -> None:
        """Work that does not look at interrupts; scaled by the `time_scale` option."""

    async def step(self) -> None:
        """One sampler step, `step_ms` long."""

    async def progress(
        self, value: int, total: int, preview: Callable[[], bytes] | None = None
    ) -> None:
        """Report progress, which is also where an interrupt is seen."""


Run = Callable[[NodeContext, Inputs], Awaitable[NodeResult]]


def in_thread(work: Callable[[NodeContext, Inputs], NodeResult]) -> Run:
    """A node whose work is plain CPU or file work: it keeps the event loop free."""

    async def run(context: NodeContext, inputs: Inputs) -> NodeResult:
        return await asyncio.to_thread(work, context, inputs)

    return run


@dataclass(frozen=True, slots=True)
class NodeType:
    """A node class. `check` and `content` serve inputs that name files, as LoadImage has."""

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
