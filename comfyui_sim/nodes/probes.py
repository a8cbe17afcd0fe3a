"""The two classes of the recordings that are not ComfyUI's: a sleep and a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfyui_sim.faults import OUT_OF_MEMORY_TEXT, NodeDeath, NodeFailure, OutOfMemory
from comfyui_sim.node_types import (
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    choice,
    integer,
    number,
)

BIG_UI_CHARACTERS = 6 * 2**20  # the size of the recorded large message
UPDATES_PER_SECOND = 10
FAULTS = ("raise", "oom", "exit", "nan_ui", "big_ui", "bad_ui")
MODULE = "custom_nodes.probe"


async def probe_sleep(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Return the pictures after some seconds, with ten progress reports a second or none."""
    seconds: float = inputs["seconds"]
    if not inputs["progress"]:
        await context.sleep(seconds)
        return NodeResult((inputs["images"],))
    total = max(1, round(seconds * UPDATES_PER_SECOND))
    for value in range(1, total + 1):
        await context.sleep(1 / UPDATES_PER_SECOND)
        await context.progress(value, total)
    return NodeResult((inputs["images"],))


async def probe_fault(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Fail in one of the recorded ways."""
    kind = inputs["kind"]
    if kind == "exit":
        raise NodeDeath
    if kind == "oom":
        raise OutOfMemory(OUT_OF_MEMORY_TEXT)
    if kind in _BAD_UI:
        return NodeResult(ui=_BAD_UI[kind]())
    raise NodeFailure("the probe node was asked to fail")


_BAD_UI: dict[str, Callable[[], dict[str, Any]]] = {
    "nan_ui": lambda: {"values": [float("nan"), float("inf")]},
    "big_ui": lambda: {"text": ["x" * BIG_UI_CHARACTERS]},
    "bad_ui": lambda: {"values": [object()]},  # cannot be encoded, which ends the delivery loop
}
_NONCE = integer(0, 0, 2**32 - 1)

CLASSES = (
    NodeType(
        "ProbeSleep",
        "Probe: sleep",
        "probe",
        probe_sleep,
        {
            "images": ["IMAGE", {}],
            "seconds": number(1.0, 0.0, 3600.0, 0.1),
            "progress": ["BOOLEAN", {"default": False}],
            "nonce": _NONCE,
        },
        outputs=("IMAGE",),
        python_module=MODULE,
    ),
    NodeType(
        "ProbeFault",
        "Probe: fault",
        "probe",
        probe_fault,
        {"images": ["IMAGE", {}], "kind": choice(*FAULTS), "nonce": _NONCE},
        output_node=True,
        python_module=MODULE,
    ),
)
