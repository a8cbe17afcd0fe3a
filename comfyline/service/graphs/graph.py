"""Graphs in ComfyUI's API format: what is one, how the parameter form becomes one.

A graph is untrusted: its shape is proved here, before anything is stored, because ComfyUI answers
500 with plain text to shapes it does not expect.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from comfyline.service.errors import MAX_FIELD_ERRORS, FieldError, InvalidRequest
from comfyline.service.graphs.catalogue import NEVER_OUTPUTS, Catalogue
from comfyline.service.jobs.job import Graph

MAX_NODES = 2_000  # far beyond a hand-made graph; keeps validation and progress cheap
MAX_NAME = 256  # of a node's id, class or input; the longest that are seen have about 60

_EXPORT_HINT = (
    "This is a workflow saved from the editor. Send the API format: in ComfyUI choose "
    '"Workflow > Export (API)" and submit that file.'
)


def canonical_json(value: Any) -> bytes:
    """One spelling for equal JSON values: sorted keys, no blanks, UTF-8.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def fingerprint(request: Any) -> str:
    """SHA-256 (hex) of the canonical form of a request as the client sent it."""
    return hashlib.sha256(canonical_json(request)).hexdigest()


def validate_graph(workflow: Mapping[str, Any], catalogue: Catalogue) -> Graph:
    """The same graph, proved to have the shape that ComfyUI's `POST /prompt` expects.

    It has no dangling link and no cycle, no node class that the catalogue does not allow, and some
    node that may be an output. Whether values fit their nodes is ComfyUI's to say.

    Raises:
        InvalidRequest: with the first faults' places under `workflow`.
    """
    if isinstance(workflow.get("nodes"), list):
        raise InvalidRequest(_EXPORT_HINT, [FieldError(("body", "workflow"), _EXPORT_HINT)])
    shape = list(islice(_shape_errors(workflow), MAX_FIELD_ERRORS))
    errors = shape or list(islice(_whole_errors(workflow, catalogue), MAX_FIELD_ERRORS))
    if errors:
        raise InvalidRequest("The workflow is not a ComfyUI graph in API format.", errors)
    return workflow


def _shape_errors(workflow: Mapping[str, Any]) -> Iterator[FieldError]:
    """What is wrong with single nodes; only a graph without such faults is looked at as a whole."""
    if not workflow:
        yield FieldError(("body", "workflow"), "a workflow needs at least one node")
    if len(workflow) > MAX_NODES:
        yield FieldError(("body", "workflow"), f"at most {MAX_NODES} nodes")
        return
    for node_id, node in workflow.items():
        if not 0 < len(node_id) <= MAX_NAME:
            yield FieldError(("body", "workflow"), f"a node's id has 1 to {MAX_NAME} characters")
            continue
        for place, message in _node_errors(node, workflow):
            yield FieldError(("body", "workflow", node_id, *place), message)


def _node_errors(node: Any, workflow: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not isinstance(node, dict):
        yield (), "a node is an object with class_type and inputs"
        return
    class_type = node.get("class_type")
    if not isinstance(class_type, str) or not 0 < len(class_type) <= MAX_NAME:
        yield ("class_type",), f"a node names its class_type, 1 to {MAX_NAME} characters"
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        yield ("inputs",), "a node's inputs are an object"
        return
    for name, value in inputs.items():
        if is_link(value) and value[0] not in workflow:
            yield ("inputs", name), f"links to node {value[0]!r}, which is not in the workflow"
        elif is_link(value) and value[1] < 0:
            yield ("inputs", name), "an output slot is 0 or more"


def _whole_errors(workflow: Mapping[str, Any], catalogue: Catalogue) -> Iterator[FieldError]:
    for node_id, node in workflow.items():
        if not catalogue.allows(node["class_type"]):
            message = f"this deployment does not allow nodes of class {node['class_type']}"
            yield FieldError(("body", "workflow", node_id, "class_type"), message)
    if cycle := _cycle(workflow):
        yield FieldError(("body", "workflow"), f"the nodes {' -> '.join(cycle)} form a cycle")
    if all(node["class_type"] in NEVER_OUTPUTS for node in workflow.values()):
        yield FieldError(("body", "workflow"), "no node is an output, such as SaveImage")


def _cycle(graph: Mapping[str, Any]) -> list[str]:
    """One cycle, its first node at both ends; empty where there is none."""
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
    """`[node id, output slot]`: an input taken from another node rather than a widget's value."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def with_output_folder(graph: Graph, folder: str) -> Graph:
    """The graph with every `filename_prefix` moved into `folder`.

    A folder of the attempt's own makes ComfyUI run the output nodes of a cached graph again (it
    writes nothing otherwise); whatever leads out of a folder is dropped from the prefix.
    """
    return {node_id: _moved(node, folder) for node_id, node in graph.items()}


def _moved(node: Mapping[str, Any], folder: str) -> Mapping[str, Any]:
    prefix = node["inputs"].get("filename_prefix")
    if not isinstance(prefix, str):
        return node
    inside = posixpath.normpath("/" + prefix.replace("\\", "/")).lstrip("/") or "ComfyUI"
    return {**node, "inputs": {**node["inputs"], "filename_prefix": f"{folder}/{inside}"}}
