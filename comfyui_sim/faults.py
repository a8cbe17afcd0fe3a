"""The switchboard of faults: what the simulator does wrong on demand. NOT part of ComfyUI.

`POST /sim/faults` with some of these keys changes them and leaves the others:

| key | value | effect |
| --- | --- | --- |
| `stall` | bool | the executor takes nothing from the queue and stops at its next checkpoint |
| `mute_sockets` | bool | sockets stay open and nothing is delivered to them; nothing is replayed |
| `drop_sockets` | true | once, now: every websocket is cut without a close frame (1006) |
| `die` | exit status | once, now: the process ends without a close frame, after this answer |
| `nodes` | {class: fault} | what the next executions of a node class do; `{}` clears |
| `step_ms` | number | milliseconds of one sampler step |
| `start_window_ms` | number | milliseconds between "taken" and "begins": cancels in it are lost |

A node fault is `{"kind": "error" | "out_of_memory" | "cuda_error" | "die", "message": text?,
"times": n?}`; without `times` it stays until cleared. `die` there ends the process with status 137.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

NODE_FAULT_KINDS = ("error", "out_of_memory", "cuda_error", "die")
KILLED = 137  # the exit status of a process that the kernel's OOM killer ended

OUT_OF_MEMORY_TEXT = (
    "CUDA out of memory. Tried to allocate 12.00 GiB. GPU 0 has a total capacity of 23.99 GiB "
    "of which 1.02 GiB is free."
)
OUT_OF_MEMORY_TIPS = (
    "\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number."
)


class NodeFailure(Exception):
    """A node raised; `type_name` is what `execution_error` reports as its exception_type."""

    type_name = "Exception"

    def report(self) -> str:
        """The `exception_message` of execution_error."""
        return f"{self}\n"


class OutOfMemory(NodeFailure):
    """The GPU is out of memory, in the words of PyTorch and ComfyUI as recorded."""

    type_name = "torch.OutOfMemoryError"

    def report(self) -> str:
        """The message of PyTorch with ComfyUI's tips appended."""
        return f"{self}{OUT_OF_MEMORY_TIPS}"


class NodeRuntimeError(NodeFailure):
    """A plain RuntimeError of PyTorch."""

    type_name = "RuntimeError"


class CudaError(NodeFailure):
    """A CUDA error that is not PyTorch's OutOfMemoryError: the context may be unusable after."""

    type_name = "torch.AcceleratorError"


class NodeDeath(BaseException):
    """The node ends the process; not an Exception, so that nothing turns it into an error."""


class BadFaults(ValueError):
    """The switchboard was sent something that it does not understand."""


@dataclass(frozen=True, slots=True)
class NodeFault:
    """What one node class does instead of its work."""

    kind: str
    message: str | None = None
    times: int | None = None

    def raise_it(self) -> None:
        """Raises: the failure of this kind, with its message or the recorded one."""
        if self.kind == "die":
            raise NodeDeath
        if self.kind == "out_of_memory":
            raise OutOfMemory(self.message or OUT_OF_MEMORY_TEXT)
        if self.kind == "cuda_error":
            raise CudaError(self.message or "CUDA error: an illegal memory access was encountered")
        raise NodeRuntimeError(self.message or "a fault injected into this node class")


class Switchboard:
    """The faults in force. All reads and writes happen on the event loop."""

    def __init__(self, step_ms: float, start_window_ms: float) -> None:
        self._defaults = (step_ms, start_window_ms)
        self._passing = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Back to a server without faults and with the times it was started with."""
        self.step_ms, self.start_window_ms = self._defaults
        self.mute_sockets = False
        self._nodes: dict[str, NodeFault] = {}
        self._passing.set()

    def apply(self, change: Mapping[str, Any]) -> None:
        """Change the lasting faults named in `change`; `drop_sockets` and `die` are the server's.

        Raises:
            BadFaults: for an unknown key or value; then nothing has changed.
        """
        nodes = _node_faults(change["nodes"]) if "nodes" in change else self._nodes
        for key, kinds in _VALUE_TYPES.items():
            if key in change and not _is_a(change[key], kinds):
                raise BadFaults(f"{key}: not a valid value: {change[key]!r}")
        if unknown := set(change) - set(_VALUE_TYPES) - {"nodes"}:
            raise BadFaults(f"unknown faults: {', '.join(sorted(unknown))}")
        self._nodes = nodes
        self.mute_sockets = change.get("mute_sockets", self.mute_sockets)
        self.step_ms = change.get("step_ms", self.step_ms)
        self.start_window_ms = change.get("start_window_ms", self.start_window_ms)
        if change.get("stall", self.stalled):
            self._passing.clear()
        else:
            self._passing.set()

    def view(self) -> dict[str, Any]:
        """The lasting faults, in the form in which they are set."""
        return {
            "stall": self.stalled,
            "mute_sockets": self.mute_sockets,
            "nodes": {name: asdict(fault) for name, fault in self._nodes.items()},
            "step_ms": self.step_ms,
            "start_window_ms": self.start_window_ms,
        }

    @property
    def stalled(self) -> bool:
        """Whether the executor is to make no progress."""
        return not self._passing.is_set()

    async def pass_stall(self) -> None:
        """Return at once, or when the stall is lifted."""
        await self._passing.wait()

    def strike(self, class_type: str) -> None:
        """Raise the fault set for a node class, if any, and count it."""
        fault = self._nodes.get(class_type)
        if fault is None:
            return
        if fault.times is not None:
            if fault.times <= 1:
                del self._nodes[class_type]
            else:
                self._nodes[class_type] = replace(fault, times=fault.times - 1)
        fault.raise_it()


_VALUE_TYPES: dict[str, tuple[type, ...]] = {
    "stall": (bool,),
    "mute_sockets": (bool,),
    "drop_sockets": (bool,),
    "die": (int,),
    "step_ms": (int, float),
    "start_window_ms": (int, float),
}


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (int, float)) and isinstance(value, kinds) and value >= 0


def _node_faults(value: Any) -> dict[str, NodeFault]:
    if not isinstance(value, dict):
        raise BadFaults("nodes: an object of node class to fault")
    faults = {}
    for class_type, fields in value.items():
        try:
            fault = NodeFault(**fields)
        except TypeError as wrong:
            raise BadFaults(f"nodes.{class_type}: {wrong}") from None
        if fault.kind not in NODE_FAULT_KINDS:
            raise BadFaults(f"nodes.{class_type}.kind: one of {', '.join(NODE_FAULT_KINDS)}")
        if fault.times is not None and not _is_a(fault.times, (int,)):
            raise BadFaults(f"nodes.{class_type}.times: a whole number")
        faults[class_type] = fault
    return faults
