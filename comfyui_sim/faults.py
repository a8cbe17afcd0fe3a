"""Faults that tests switch on and off while the simulator runs. NOT part of ComfyUI.

`POST /sim/faults` changes the faults that its body names, and leaves the others:

| key | value | effect |
| --- | --- | --- |
| `stall` | bool | the executor takes no prompt and pauses at its next node or progress step |
| `mute_sockets` | bool | sockets stay open but receive nothing; missed messages are not replayed |
| `drop_sockets` | true | once, now: every websocket is cut without a close frame (1006) |
| `die` | exit status | once, now: the process ends without a close frame, after this answer |
| `nodes` | {class: fault} | faults by node class; `{}` removes all of them |
| `step_ms` | number | milliseconds of one sampler step |
| `start_window_ms` | number | milliseconds between "taken" and "begins"; cancels in it are lost |
| `disk_bytes` | number or null | what output/ and temp/ can hold together; null: no limit |

A node fault is `{"kind": "error" | "out_of_memory" | "cuda_error" | "die", "message": text?,
"times": n?}`. Without `times` it stays until it is removed. The kind `die` ends the process with
status 137.
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

    def __init__(self, message: str, *, type_name: str | None = None) -> None:
        super().__init__(message)
        if type_name is not None:
            self.type_name = type_name

    def report(self) -> str:
        """The `exception_message` of execution_error."""
        return f"{self}\n"


class OutOfMemory(NodeFailure):
    """The GPU is out of memory. The texts are PyTorch's and ComfyUI's, as recorded."""

    type_name = "torch.OutOfMemoryError"

    def report(self) -> str:
        """The message of PyTorch with ComfyUI's tips appended."""
        return f"{self}{OUT_OF_MEMORY_TIPS}"


class NodeRuntimeError(NodeFailure):
    """A plain RuntimeError of PyTorch."""

    type_name = "RuntimeError"


class CudaError(NodeFailure):
    """A CUDA error other than PyTorch's OutOfMemoryError. The CUDA context may be unusable then."""

    type_name = "torch.AcceleratorError"


class DependencyCycle(NodeFailure):
    """The nodes that are left wait for each other."""

    type_name = "graph.DependencyCycleError"


class NodeDeath(BaseException):
    """The node ends the process.

    It is not an Exception, so that no handler turns it into an execution error.
    """


class BadFaults(ValueError):
    """`POST /sim/faults` contains an unknown fault or an invalid value."""


@dataclass(frozen=True, slots=True)
class NodeFault:
    """The failure of a node class, which happens instead of its work."""

    kind: str
    message: str | None = None
    times: int | None = None

    def raise_failure(self) -> None:
        """Raise the failure of this kind, with its own message or the recorded one."""
        if self.kind == "die":
            raise NodeDeath
        if self.kind == "out_of_memory":
            raise OutOfMemory(self.message or OUT_OF_MEMORY_TEXT)
        if self.kind == "cuda_error":
            raise CudaError(self.message or "CUDA error: an illegal memory access was encountered")
        raise NodeRuntimeError(self.message or "a fault injected into this node class")


class Switchboard:
    """The faults that are switched on. It is used on the event loop only."""

    def __init__(self, step_ms: float, start_window_ms: float) -> None:
        self._defaults = (step_ms, start_window_ms)
        self._passing = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Switch all faults off, and restore the times of the start options."""
        self.step_ms, self.start_window_ms = self._defaults
        self.mute_sockets = False
        self.disk_bytes: int | None = None
        self._nodes: dict[str, NodeFault] = {}
        self._passing.set()

    def apply(self, change: Mapping[str, Any]) -> None:
        """Change the lasting faults that `change` names. The caller does `drop_sockets` and `die`.

        Raises:
            BadFaults: an unknown key or an invalid value; then nothing has changed.
        """
        nodes = _node_faults(change["nodes"]) if "nodes" in change else self._nodes
        for key, kinds in _VALUE_TYPES.items():
            if key in change and not _is_a(change[key], kinds):
                raise BadFaults(f"{key}: invalid value {change[key]!r}")
        if unknown := set(change) - set(_VALUE_TYPES) - {"nodes"}:
            raise BadFaults(f"unknown faults: {', '.join(sorted(unknown))}")
        self._nodes = nodes
        self.mute_sockets = change.get("mute_sockets", self.mute_sockets)
        self.disk_bytes = change.get("disk_bytes", self.disk_bytes)
        self.step_ms = change.get("step_ms", self.step_ms)
        self.start_window_ms = change.get("start_window_ms", self.start_window_ms)
        if change.get("stall", self.stalled):
            self._passing.clear()
        else:
            self._passing.set()

    def view(self) -> dict[str, Any]:
        """The lasting faults, in the form of `POST /sim/faults`."""
        return {
            "stall": self.stalled,
            "mute_sockets": self.mute_sockets,
            "disk_bytes": self.disk_bytes,
            "nodes": {name: asdict(fault) for name, fault in self._nodes.items()},
            "step_ms": self.step_ms,
            "start_window_ms": self.start_window_ms,
        }

    @property
    def stalled(self) -> bool:
        """Whether the executor must pause."""
        return not self._passing.is_set()

    async def pass_stall(self) -> None:
        """Wait until there is no stall."""
        await self._passing.wait()

    def fail_if_set(self, class_type: str) -> None:
        """Raise the failure that is set for the node class, if any, and count it."""
        fault = self._nodes.get(class_type)
        if fault is None:
            return
        if fault.times is not None:
            if fault.times <= 1:
                del self._nodes[class_type]
            else:
                self._nodes[class_type] = replace(fault, times=fault.times - 1)
        fault.raise_failure()


_VALUE_TYPES: dict[str, tuple[type, ...]] = {
    "stall": (bool,),
    "mute_sockets": (bool,),
    "drop_sockets": (bool,),
    "die": (int,),
    "step_ms": (int, float),
    "start_window_ms": (int, float),
    "disk_bytes": (int, type(None)),
}


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    if value is None:
        return type(None) in kinds
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (int, float)) and isinstance(value, kinds) and value >= 0


def _node_faults(value: Any) -> dict[str, NodeFault]:
    if not isinstance(value, dict):
        raise BadFaults("nodes: must be an object with a fault for each node class")
    faults = {}
    for class_type, fields in value.items():
        try:
            fault = NodeFault(**fields)
        except TypeError as wrong:
            raise BadFaults(f"nodes.{class_type}: {wrong}") from None
        if fault.kind not in NODE_FAULT_KINDS:
            kinds = ", ".join(NODE_FAULT_KINDS)
            raise BadFaults(f"nodes.{class_type}.kind: must be one of {kinds}")
        if fault.times is not None and not _is_a(fault.times, (int,)):
            raise BadFaults(f"nodes.{class_type}.times: must be a whole number")
        faults[class_type] = fault
    return faults
