"""Validates the graph of `POST /prompt`, with ComfyUI's 400 bodies and node_errors.

The real server answers 500 to some malformed graphs. Here they raise TypeError, which aiohttp
answers with 500 too.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfyui_sim.node_types import NodeType
from comfyui_sim.options import Folders

Errors = list[dict[str, Any]]
EXCEPTIONS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(slots=True)
class Verdict:
    """`error` rejects the whole prompt. `node_errors` can exist beside outputs that can run."""

    error: dict[str, Any] | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


def error(kind: str, message: str, details: str = "", **extra_info: Any) -> dict[str, Any]:
    """An error in ComfyUI's form."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def validate(
    prompt: Any, targets: list[str] | None, types: Mapping[str, NodeType], folders: Folders
) -> Verdict:
    """Validate a graph. Widget values are converted in place, as ComfyUI does.

    Args:
        targets: the outputs to run (`partial_execution_targets`), or None for all.

    Raises:
        TypeError: the graph does not have the shape of the API format.
    """
    if not isinstance(prompt, dict) or not all(isinstance(node, dict) for node in prompt.values()):
        raise TypeError("not a graph in API format")
    for node_id, node in prompt.items():
        if (missing := _missing_class(node_id, node, types)) is not None:
            return Verdict(missing)
    outputs = [
        node_id
        for node_id, node in prompt.items()
        if types[node["class_type"]].output_node and (targets is None or node_id in targets)
    ]
    if not outputs:
        return Verdict(error("prompt_no_outputs", "Prompt has no outputs"))
    return _judge(_Validation(prompt, types, folders), outputs)


def _missing_class(
    node_id: str, node: dict[str, Any], types: Mapping[str, NodeType]
) -> dict[str, Any] | None:
    name = node.get("class_type")
    title = node.get("_meta", {}).get("title")
    details = f"Node ID '#{node_id}'"
    if name is None:
        message = (
            f"Node 'ID #{node_id}' has no class_type. "
            "The workflow may be corrupted or a custom node is missing."
        )
    elif name not in types:
        message = f"Node '{title or name}' not found. The custom node may not be installed."
    else:
        return None
    facts = {"node_id": node_id, "class_type": name, "node_title": title or name}
    return error("missing_node_type", message, details, **facts)


def _judge(validation: _Validation, outputs: list[str]) -> Verdict:
    verdict = Verdict()
    summary: list[str] = []
    for output in outputs:
        good, own = validation.output(output)
        if good:
            verdict.outputs.append(output)
        summary += [f"{fault['message']}: {fault['details']}" for fault in own]
        if not good:
            validation.blame(output, verdict.node_errors)
    if not verdict.outputs:
        message = "Prompt outputs failed validation"
        verdict.error = error("prompt_outputs_failed_validation", message, "\n".join(summary))
    return verdict


class _Validation:
    """Walks a graph once, and keeps the errors of each node."""

    def __init__(
        self, prompt: dict[str, Any], types: Mapping[str, NodeType], folders: Folders
    ) -> None:
        self._prompt = prompt
        self._types = types
        self._folders = folders
        self._found: dict[str, tuple[bool, Errors]] = {}
        self._path: list[str] = []

    def output(self, node_id: str) -> tuple[bool, Errors]:
        """Whether an output can run, and the errors of the output node itself."""
        self._path = []
        try:
            good = self._node(node_id)
        except EXCEPTIONS as fault:
            good = False
            self._found[node_id] = (False, [_exception(fault)])
        return good, self._found[node_id][1]

    def blame(self, output: str, node_errors: dict[str, Any]) -> None:
        """Add all errors found so far, with the output that cannot run because of them."""
        for node_id, (_, errors) in self._found.items():
            if errors:
                class_type = self._prompt[node_id]["class_type"]
                entry = {"errors": errors, "dependent_outputs": [], "class_type": class_type}
                node_errors.setdefault(node_id, entry)["dependent_outputs"].append(output)

    def _node(self, node_id: str) -> bool:
        if node_id in self._found:
            return self._found[node_id][0]
        if node_id in self._path:
            return self._cycle(self._path[self._path.index(node_id) :])
        node = self._prompt[node_id]
        node_type = self._types[node["class_type"]]
        errors: Errors = []
        good = True
        self._path.append(node_id)
        try:
            for name, config in node_type.declared.items():
                good &= self._input(node["inputs"], name, config, node_type, errors)
        finally:
            self._path.pop()
        if node_type.check is not None and not errors:
            errors += _custom(node_type.check(self._folders, node["inputs"]))
        found = self._found.setdefault(node_id, (good and not errors, errors))
        return found[0]

    def _input(
        self,
        inputs: dict[str, Any],
        name: str,
        config: list[Any],
        node_type: NodeType,
        errors: Errors,
    ) -> bool:
        """Check one input; False if the error is in a node that it links to."""
        if name not in inputs:
            if name in node_type.required:
                message = "Required input is missing"
                errors.append(error("required_input_missing", message, name, input_name=name))
        elif isinstance(inputs[name], list):
            return self._link(inputs[name], name, config, errors)
        elif node_type.check is None:  # a node with a check validates its values itself
            errors += _widget(inputs, name, config)
        return True

    def _link(self, link: list[Any], name: str, config: list[Any], errors: Errors) -> bool:
        facts: dict[str, Any] = {"input_name": name, "input_config": config}
        if len(link) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            errors.append(error("bad_linked_input", message, name, **facts, received_value=link))
            return True
        source, slot = link
        received = self._types[self._prompt[source]["class_type"]].outputs[slot]
        wanted = "COMBO" if isinstance(config[0], list) else config[0]
        if not _fits(received, wanted):
            details = f"{name}, received_type({received}) mismatch input_type({wanted})"
            message = "Return type mismatch between linked nodes"
            facts |= {"received_type": received, "linked_node": link}
            errors.append(error("return_type_mismatch", message, details, **facts))
            return True
        try:
            return self._node(source)
        except EXCEPTIONS as fault:
            # The node itself cannot be judged, for example because it links to a missing node.
            facts |= {"exception_message": str(fault), "linked_node": link}
            self._found[source] = (False, [_exception(fault, inner=True, **facts)])
            return False

    def _cycle(self, nodes: list[str]) -> bool:
        names = [f"{node_id} ({self._prompt[node_id]['class_type']})" for node_id in nodes]
        details = " -> ".join([*names, names[0]])
        for node_id in nodes:
            found = error(
                "dependency_cycle",
                "Dependency cycle detected",
                details,
                node_id=node_id,
                cycle_nodes=nodes,
            )
            self._found[node_id] = (False, [found])
        return False


def _exception(fault: Exception, *, inner: bool = False, **facts: Any) -> dict[str, Any]:
    return error(
        f"exception_during_{'inner_' if inner else ''}validation",
        f"Exception when validating {'inner ' if inner else ''}node",
        str(fault),
        **facts,
        exception_type=type(fault).__name__,
        traceback=traceback.format_tb(fault.__traceback__),
    )


def _fits(received: str, wanted: str) -> bool:
    """Whether an output fits an input; each may name several types, and `*` fits all."""
    return "*" in (received, wanted) or not set(received.split(",")).isdisjoint(wanted.split(","))


def _custom(complaint: tuple[str, str] | None) -> Errors:
    if complaint is None:
        return []
    name, reason = complaint
    message = "Custom validation failed for node"
    return [error("custom_validation_failed", message, f"{name} - {reason}", input_name=name)]


_CONVERT: dict[str, type] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def _widget(inputs: dict[str, Any], name: str, config: list[Any]) -> Errors:
    kind, limits = config
    if isinstance(inputs[name], dict) and "__value__" in inputs[name]:
        inputs[name] = inputs[name]["__value__"]  # how a prompt gives a list that is not a link
    facts: dict[str, Any] = {"input_name": name, "input_config": config}
    choices = limits["options"] if kind == "COMBO" else kind
    if isinstance(choices, list):
        return _choice(inputs[name], name, choices, facts)
    if kind not in _CONVERT:  # a value instead of a required link, which ComfyUI accepts
        return []
    given = inputs[name]
    try:
        value = inputs[name] = _CONVERT[kind](given)
    except (TypeError, ValueError) as fault:
        message = f"Failed to convert an input value to a {kind} value"
        facts |= {"received_value": given, "exception_message": str(fault)}
        return [error("invalid_input_type", message, f"{name}, {given}, {fault}", **facts)]
    facts["received_value"] = value
    if "min" in limits and value < limits["min"]:
        message = f"Value {value} smaller than min of {limits['min']}"
        return [error("value_smaller_than_min", message, name, **facts)]
    if "max" in limits and value > limits["max"]:
        message = f"Value {value} bigger than max of {limits['max']}"
        return [error("value_bigger_than_max", message, name, **facts)]
    return []


def _choice(value: Any, name: str, choices: list[str], facts: dict[str, Any]) -> Errors:
    if value in choices:
        return []
    details = f"{name}: {value!r} not in {choices}"
    return [error("value_not_in_list", "Value not in list", details, **facts, received_value=value)]
