"""Node classes: their inputs, their outputs, their entry in `/object_info`, and their work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from comfyui_sim.options import Folders, Options

Inputs = Mapping[str, Any]
Spec = list[Any]
"""The declaration of an input: its type, or its choices, and its options."""


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The values of a node's output slots and, for output nodes, its `ui` value."""

    outputs: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture that is sent over the socket."""

    content_type: str  # image/jpeg or image/png
    body: bytes


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

    @property
    def memory(self) -> MutableMapping[str, Any]:
        """Values that the node keeps from one prompt to the next, as an instance of a class does.

        ComfyUI keeps one instance for each node id and class.
        """

    async def sleep(self, seconds: float) -> None:
        """Work that ignores interrupts. The `time_scale` option scales the time."""

    async def step(self) -> None:
        """One sampler step, `step_ms` long."""

    async def progress(
        self, value: int, total: int, picture: Callable[[], Picture] | None = None
    ) -> None:
        """Report progress. An interrupt takes effect here."""

    def send_picture(self, picture: Picture) -> None:
        """Send a picture to the client directly, without a node and without progress."""

    def send_text(self, text: str) -> None:
        """Send a text about this node's progress to all clients."""

    def write(self, path: Path, body: bytes) -> None:
        """Write a file.

        Raises:
            OSError: the disk is full (`disk_bytes` in faults.py); a part of the file exists.
        """

    def queue_again(self, prompt: Mapping[str, Any]) -> None:
        """Put a graph ahead of all others, as packs do that run a graph in several rounds."""


Run = Callable[[NodeContext, Inputs], Awaitable[NodeResult]]


def in_thread(work: Callable[[NodeContext, Inputs], NodeResult]) -> Run:
    """Run CPU or file work in a thread, so that it does not block the event loop."""

    async def run(context: NodeContext, inputs: Inputs) -> NodeResult:
        return await asyncio.to_thread(work, context, inputs)

    return run


def never_the_same(_: Folders, __: Inputs) -> int:
    """The `content` of a class that is never cached."""
    return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class NodeType:
    """A node class.

    `check` is ComfyUI's VALIDATE_INPUTS: the name of the input and the complaint, or None.
    `content` is ComfyUI's IS_CHANGED: what the result depends on besides the inputs.
    """

    name: str
    display_name: str
    category: str
    run: Run
    required: dict[str, Spec]
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    lists_outputs: bool = False
    output_node: bool = False
    optional: dict[str, Spec] = field(default_factory=dict)
    hidden: dict[str, str] = field(default_factory=dict)
    description: str = ""
    search_aliases: tuple[str, ...] = ()
    essentials_category: str | None = None
    python_module: str = "nodes"
    check: Callable[[Folders, Inputs], tuple[str, str] | None] | None = None
    content: Callable[[Folders, Inputs], Any] | None = None

    @property
    def declared(self) -> dict[str, Spec]:
        """The inputs that a prompt may give; ComfyUI does not pass the values of others on."""
        return {**self.required, **self.optional}

    def _listed(self, spec: Spec | str) -> Spec | str:
        """The declaration as ComfyUI lists it: each of its two kinds of classes in its own way."""
        is_newer = self.python_module.startswith("comfy_extras.")
        if isinstance(spec, str):
            return [spec] if is_newer else spec
        return spec if is_newer or spec[1:] != [{}] else spec[:1]

    def object_info(self) -> dict[str, Any]:
        """The entry of `GET /object_info`."""
        given: dict[str, Mapping[str, Spec | str]] = {
            "required": self.required,
            "optional": self.optional,
            "hidden": self.hidden,
        }
        inputs = {
            kind: {name: self._listed(spec) for name, spec in specs.items()}
            for kind, specs in given.items()
            if specs or kind == "required"
        }
        info: dict[str, Any] = {
            "input": inputs,
            "input_order": {kind: list(specs) for kind, specs in inputs.items()},
            "is_input_list": False,
            "output": list(self.outputs),
            "output_is_list": [self.lists_outputs] * len(self.outputs),
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


PNG_INPUTS = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def integer(default: int, least: int, most: int, **extra: Any) -> Spec:
    """An INT input."""
    return ["INT", {"default": default, "min": least, "max": most, **extra}]


def number(default: float, least: float, most: float, step: float) -> Spec:
    """A FLOAT input."""
    return ["FLOAT", {"default": default, "min": least, "max": most, "step": step}]


def text(default: str = "", **extra: Any) -> Spec:
    """A STRING input."""
    return ["STRING", {"default": default, **extra}]


def choice(*choices: str, **extra: Any) -> Spec:
    """A choice as classes of the older kind declare it."""
    return [list(choices), extra]


def combo(*choices: str, **extra: Any) -> Spec:
    """A choice as classes of the newer kind declare it."""
    return ["COMBO", {"multiselect": False, "options": list(choices), **extra}]
