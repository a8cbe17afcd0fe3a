"""Executes one prompt, and sends the messages that report its progress."""

from __future__ import annotations

import asyncio
import traceback
from functools import partial
from types import NoneType
from typing import Any

from comfyui_sim import graph
from comfyui_sim.engine import Engine, Interrupted, now_ms
from comfyui_sim.faults import KILLED, DependencyCycle, NodeDeath, NodeFailure
from comfyui_sim.list_runs import items_of, joined, runs
from comfyui_sim.node_run import NodeRun
from comfyui_sim.node_types import NodeResult, Picture
from comfyui_sim.prompt_queue import QueueItem

FLUSH_TIMEOUT_S = 1.0


class LogFailed(Exception):
    """The log cannot encode the message of a node that has failed."""


class PromptRun:
    """The execution of one prompt."""

    def __init__(self, engine: Engine, item: QueueItem) -> None:
        self._engine = engine
        self._item = item
        self.client_id: Any = item.extra_data.get("client_id")
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._results: dict[str, NodeResult] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._ui: dict[str, dict[str, Any]] = {}
        self._executed: list[str] = []

    async def execute(self) -> dict[str, Any]:
        """Run the prompt to its end, and return its history entry without the prompt itself.

        Raises:
            Broken: the graph needs a node that it does not hold, or a node has no inputs.
            LogFailed: a node has failed with a message that the log cannot encode.
        """
        self._send_and_keep("execution_start", {})
        prompt = self._item.prompt
        signed = graph.signatures(prompt, self._engine.types, self._engine.folders)
        cache = self._engine.state.cache
        found = {node_id: cache.find(signed[node_id]) for node_id in prompt}
        cached = {node_id: result for node_id, result in found.items() if result is not None}
        self._results = dict(cached)
        self._send_and_keep("execution_cached", {"nodes": list(cached)})
        order = graph.Order(prompt, self._item.outputs, cached.__contains__)
        while order:
            node_id = order.next()
            if node_id is None:
                self._fail(order.left()[0], DependencyCycle("Dependency cycle detected"), {})
                return self._result(success=False)
            if node_id in cached:
                self._show_cached(node_id)
            elif not await self._execute_node(node_id, signed[node_id]):
                return self._result(success=False)
            order.complete(node_id)
            await asyncio.sleep(0)
        self._send_and_keep("execution_success", {})
        return self._result(success=True)

    def _show_cached(self, node_id: str) -> None:
        """Report a cached output node with its old `ui` and file names. The node does not run."""
        self._show(node_id, self._results[node_id].ui)
        self._set_state(node_id, 1, 1, "finished")

    async def _execute_node(self, node_id: str, signature: str) -> bool:
        """Run a node and report it; False if the prompt ends here."""
        inputs: dict[str, Any] = {}
        try:
            await self._engine.faults.pass_stall()
            inputs = self._inputs(node_id)
            self._set_state(node_id, 0.0, 1.0, "running")
            self._engine.state.entered(node_id)
            self._send("executing", {"node": node_id, "display_node": node_id})
            await asyncio.sleep(0)
            result = await self._run(node_id, inputs)
        except Interrupted:
            self._send_and_keep("execution_interrupted", self._place(node_id), broadcast=True)
        except Exception as fault:  # noqa: BLE001 a node may raise anything: execution_error
            self._fail(node_id, fault, inputs)
        else:
            self._results[node_id] = result
            self._engine.state.cache.keep(signature, result)
            self._finish(node_id, result)
            return True
        return False

    async def _run(self, node_id: str, inputs: dict[str, Any]) -> NodeResult:
        node_type = self._engine.types[self._item.prompt[node_id]["class_type"]]
        context = NodeRun(self._engine, self._item, node_id, partial(self._report, node_id))
        try:
            self._engine.state.raise_if_interrupted()
            self._engine.faults.fail_if_set(node_type.name)
            if unknown := set(inputs) - set(node_type.declared) - set(node_type.hidden):
                name = unknown.pop()
                raise TypeError(f"{node_type.name} got an unexpected keyword argument '{name}'")
            return joined([await node_type.run(context, each) for each in runs(inputs)])
        except NodeDeath:
            # Send the queued messages, so that the last one names the node that ends the process.
            await self._engine.hub.flush(FLUSH_TIMEOUT_S)
            self._engine.exit_process(KILLED)
            raise Interrupted from None  # reached only if a test replaced the exit

    def _inputs(self, node_id: str) -> dict[str, Any]:
        """What the node gets: of the inputs that its class does not declare, only links."""
        node = self._item.prompt[node_id]
        node_type = self._engine.types[node["class_type"]]
        given = {
            name: self._results[value[0]].outputs[value[1]] if graph.is_link(value) else value
            for name, value in node["inputs"].items()
            if name in node_type.declared or graph.is_link(value)
        }
        facts = {
            "PROMPT": self._item.prompt,
            "EXTRA_PNGINFO": self._item.extra_data.get("extra_pnginfo"),
            "UNIQUE_ID": node_id,
        }
        return given | {name: facts[kind] for name, kind in node_type.hidden.items()}

    def _finish(self, node_id: str, result: NodeResult) -> None:
        self._executed.append(node_id)
        if result.ui:
            self._show(node_id, result.ui)
        state = self._states[node_id]
        self._set_state(node_id, state["max"], state["max"], "finished")

    def _show(self, node_id: str, ui: dict[str, Any] | None) -> None:
        if ui:
            self._ui[node_id] = ui
        self._send("executed", {"node": node_id, "display_node": node_id, "output": ui})

    def _fail(self, node_id: str, fault: Exception, inputs: dict[str, Any]) -> None:
        self._log(_message(fault))
        details = {
            **self._place(node_id),
            "exception_message": _message(fault),
            "exception_type": _type_name(fault),
            "traceback": traceback.format_tb(fault.__traceback__),
            "current_inputs": {
                name: [_printed(item) for item in items_of(value)] for name, value in inputs.items()
            },
            "current_outputs": list(self._item.prompt),
        }
        self._send_and_keep("execution_error", details)

    def _log(self, message: str) -> None:
        # The real log fails too while it reports that failure, unless `raiseExceptions` is off.
        try:
            message.encode()
        except UnicodeEncodeError as error:
            if not self._engine.options.quiet_log:
                raise LogFailed(str(error)) from None

    def _place(self, node_id: str) -> dict[str, Any]:
        class_type = self._item.prompt[node_id]["class_type"]
        return {"node_id": node_id, "node_type": class_type, "executed": list(self._executed)}

    def _result(self, *, success: bool) -> dict[str, Any]:
        return {
            "outputs": self._ui,
            "status": {
                "status_str": "success" if success else "error",
                "completed": success,
                "messages": self._messages,
            },
            "meta": {node_id: _meta(node_id) for node_id in self._ui},
        }

    def _send_and_keep(self, kind: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        """Keep a message for the history, and send it if there is a client or it is a broadcast."""
        full = {"prompt_id": self._item.prompt_id, **data, "timestamp": now_ms()}
        self._messages.append((kind, full))
        if self.client_id is not None or broadcast:
            self._engine.hub.send(kind, full, self.client_id)

    def _send(self, kind: str, data: dict[str, Any]) -> None:
        if self.client_id is not None:
            full = {**data, "prompt_id": self._item.prompt_id}
            self._engine.hub.send(kind, full, self.client_id)

    def _set_state(self, node_id: str, value: float, most: float, state: str) -> None:
        """Send the states of all nodes that have started, to all sockets if there is no client."""
        self._states[node_id] = {
            "value": value,
            "max": most,
            "state": state,
            **self._about(node_id),
        }
        data = {"prompt_id": self._item.prompt_id, "nodes": dict(self._states)}
        self._engine.hub.send("progress_state", data, self.client_id)

    def _about(self, node_id: str) -> dict[str, Any]:
        """The five fields that name a node in progress_state and in preview metadata."""
        return {
            "node_id": node_id,
            "prompt_id": self._item.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    def _report(self, node_id: str, value: int, most: int, preview: Picture | None) -> None:
        """Send a progress step: the state, the progress and the preview.

        The preview comes before the progress if the client reads metadata, else after it.
        """
        self._set_state(node_id, value, most, "running")
        hub = self._engine.hub
        with_metadata = hub.reads_metadata(self.client_id)
        if preview is not None and with_metadata:
            hub.send_preview(preview, self._about(node_id), self.client_id)
        progress = {"value": value, "max": most, "prompt_id": self._item.prompt_id, "node": node_id}
        hub.send("progress", progress, self.client_id)
        if preview is not None and not with_metadata:
            hub.send_preview(preview, self._about(node_id), self.client_id)


def _meta(node_id: str) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "display_node": node_id,
        "parent_node": None,
        "real_node_id": node_id,
    }


def _message(fault: Exception) -> str:
    return fault.report() if isinstance(fault, NodeFailure) else f"{fault}\n"


def _type_name(fault: Exception) -> str:
    if isinstance(fault, NodeFailure):
        return fault.type_name
    module = type(fault).__module__
    return type(fault).__name__ if module == "builtins" else f"{module}.{type(fault).__name__}"


def _printed(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, NoneType)) else str(value)
