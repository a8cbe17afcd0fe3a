"""Graphs in ComfyUI's API format.

A graph comes from a caller. Its shape is checked here, before anything is stored, because ComfyUI
answers a shape that it does not expect with 500 and plain text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from comfyline.service.errors import MAX_FIELD_ERRORS, FieldError, InvalidRequest
from comfyline.service.graphs.catalogue import NEVER_OUTPUTS, Catalogue

Graph = Mapping[str, Mapping[str, Any]]  # node id -> {"class_type": ..., "inputs": ...}

MAX_NODES = 2_000  # far more than a hand-made graph has; keeps validation and progress cheap
MAX_NAME = 256  # characters of a node's id or class; the longest in real graphs have about 60

_EXPORT_HINT = (
    "This is a workflow saved from the editor. Send the API format: in ComfyUI choose "
    '"Workflow > Export (API)" and submit that file.'
)


def canonical_json(value: Any) -> bytes:
    """The same bytes for equal JSON values: sorted keys, no blanks, UTF-8.

    Raises:
        ValueError: the value contains NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def fingerprint(request: Any) -> str:
    """SHA-256 (hex) of the canonical form of a request as the client sent it."""
    return hashlib.sha256(canonical_json(request)).hexdigest()


def validate_graph(workflow: Mapping[str, Any], catalogue: Catalogue) -> Graph:
    """Check that the graph has the shape that ComfyUI's `POST /prompt` expects, and return it.

    It has no link to a missing node, no cycle, no node class that the catalogue forbids, and at
    least one node that may be an output. ComfyUI itself checks whether values fit their nodes.

    Raises:
        InvalidRequest: with the places of the first errors.
    """
    if isinstance(workflow.get("nodes"), list):
        raise InvalidRequest(_EXPORT_HINT, [FieldError(("body", "workflow"), _EXPORT_HINT)])
    shape = list(islice(_shape_errors(workflow), MAX_FIELD_ERRORS))
    errors = shape or list(islice(_whole_errors(workflow, catalogue), MAX_FIELD_ERRORS))
    if errors:
        raise InvalidRequest("The workflow is not a ComfyUI graph in API format.", errors)
    return workflow


def _shape_errors(workflow: Mapping[str, Any]) -> Iterator[FieldError]:
    """The errors of single nodes. Only a graph without any is checked as a whole."""
    if not workflow:
        yield FieldError(("body", "workflow"), "a workflow needs at least one node")
    if len(workflow) > MAX_NODES:
        yield FieldError(("body", "workflow"), f"a workflow has at most {MAX_NODES} nodes")
        return
    for node_id, node in workflow.items():
        if not 0 < len(node_id) <= MAX_NAME:
            yield FieldError(
                ("body", "workflow"), f"a node's id must have 1 to {MAX_NAME} characters"
            )
            continue
        for place, message in _node_errors(node, workflow):
            yield FieldError(("body", "workflow", node_id, *place), message)


def _node_errors(node: Any, workflow: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not isinstance(node, dict):
        yield (), "a node must be an object with class_type and inputs"
        return
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or not 0 < len(class_type) <= MAX_NAME:
        yield ("class_type",), f"must be a text of 1 to {MAX_NAME} characters"
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        yield ("inputs",), "must be an object"
        return
    for name, value in inputs.items():
        if is_link(value) and value[0] not in workflow:
            yield ("inputs", name), f"links to node {value[0]!r}, which is not in the workflow"
        elif is_link(value) and value[1] < 0:
            yield ("inputs", name), "the output slot of a link must be 0 or more"


def _whole_errors(workflow: Mapping[str, Any], catalogue: Catalogue) -> Iterator[FieldError]:
    for node_id, node in workflow.items():
        if not catalogue.allows(node["class_type"]):
            message = f"this deployment does not allow nodes of class {node['class_type']}"
            yield FieldError(("body", "workflow", node_id, "class_type"), message)
    if cycle := _cycle(workflow):
        yield FieldError(("body", "workflow"), f"the nodes {' -> '.join(cycle)} form a cycle")
    if all(node["class_type"] in NEVER_OUTPUTS for node in workflow.values()):
        yield FieldError(("body", "workflow"), "the workflow has no output node, such as SaveImage")


def _cycle(graph: Mapping[str, Any]) -> list[str]:
    """The nodes of one cycle, starting and ending with the same one; empty if there is no cycle."""
    order = TopologicalSorter(
        {
            node_id: [value[0] for value in node["inputs"].values() if is_link(value)]
            for node_id, node in graph.items()
        }
    )
    try:
        order.prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes
    return []


def is_link(value: Any) -> bool:
    """Whether an input is `[node id, output slot]`, the output of another node."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def with_input(node: Mapping[str, Any], name: str, value: Any) -> Mapping[str, Any]:
    """The node with one input added or replaced."""
    return {**node, "inputs": {**node["inputs"], name: value}}
