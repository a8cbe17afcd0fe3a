"""Check a graph before anything is stored, and refuse only what ComfyUI would refuse as a whole.

A shape that ComfyUI does not expect makes it answer 500 in plain text, or stops its executor for
good, so it must never reach an engine. Everything that an engine judges by itself is left to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from comfyline.service.errors import MAX_FIELD_ERRORS, EditorExport, FieldError, InvalidGraph
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import MAX_NAME, Graph
from comfyline.service.graphs.needs import (
    broken,
    dangling,
    may_be_output,
    needed_for_certain,
    sources_of,
)

MAX_NODES = 10_000  # far more than a graph that ComfyUI can run; keeps validation cheap

_EXPORT_HINT = (
    "This is a workflow saved from the editor. Send the API format: in ComfyUI choose "
    '"Workflow > Export (API)" and submit that file.'
)


def forbidden_class(class_type: str) -> str:
    """The message about a node that the deployment's lock does not allow."""
    return f"this deployment does not allow nodes of class {class_type}"


Errors = Iterator[tuple[tuple[str, ...], str]]  # places inside the workflow, and messages


def unknown_nodes() -> EngineNodes:
    """For a caller of `validate_graph` that knows no engine."""
    return EngineNodes()


def validate_graph(
    workflow: Mapping[str, Any],
    catalogue: Catalogue,
    nodes: Callable[[], EngineNodes] = unknown_nodes,
) -> Graph:
    """Check that ComfyUI may be given the graph, and return it.

    Every node has a class that the catalogue allows, and inputs. Some node may be an output, and
    does not depend on a missing node or on a cycle. The nodes that are executed for certain have
    only values that are JSON. `nodes` is called only for a graph that depends on it.

    Raises:
        EditorExport: it has the format in which the editor saves it.
        InvalidGraph: with the places of the first errors.
    """
    if isinstance(workflow.get("nodes"), list):
        raise EditorExport(_EXPORT_HINT, [FieldError(("body", "workflow"), _EXPORT_HINT)])
    # They are generators: each of them looks at the graph only if those before found no error.
    for check in (
        _shape_errors(workflow),
        _class_errors(workflow, catalogue),
        _order_errors(workflow, nodes),
        _value_errors(workflow, nodes),
    ):
        if errors := list(islice(check, MAX_FIELD_ERRORS)):
            found = [FieldError(("body", "workflow", *place), message) for place, message in errors]
            raise InvalidGraph("The workflow is not a ComfyUI graph in API format.", found)
    return workflow


def check_classes(graph: Graph, nodes: EngineNodes) -> None:
    """Check that the engine has every class of the graph, if its classes are known.

    Raises:
        InvalidGraph: it names other classes.
    """
    if not nodes:
        return
    unknown = (
        FieldError(
            ("body", "workflow", node_id, "class_type"),
            f"this deployment has no nodes of class {node['class_type']}",
        )
        for node_id, node in graph.items()
        if not nodes.knows(node["class_type"])
    )
    if errors := list(islice(unknown, MAX_FIELD_ERRORS)):
        raise InvalidGraph("The workflow needs nodes that this deployment does not have.", errors)


# --- single nodes ---------------------------------------------------------------------------------


def _shape_errors(workflow: Mapping[str, Any]) -> Errors:
    if not workflow:
        yield (), "a workflow needs at least one node"
    if len(workflow) > MAX_NODES:
        yield (), f"a workflow has at most {MAX_NODES} nodes"
        return
    for node_id, node in workflow.items():
        if len(node_id) > MAX_NAME or not _is_text(node_id):
            yield (), f"a node's id must be a text of at most {MAX_NAME} characters"
            continue
        for place, message in _node_errors(node):
            yield (node_id, *place), message


def _node_errors(node: Any) -> Errors:
    if not isinstance(node, dict):
        yield (), "a node must be an object with class_type and inputs"
        return
    class_type = node.get("class_type")
    if (
        not isinstance(class_type, str)
        or not 0 < len(class_type) <= MAX_NAME
        or not _is_text(class_type)
    ):
        yield ("class_type",), f"must be a text of 1 to {MAX_NAME} characters"
    if not isinstance(node.get("inputs"), dict):
        yield ("inputs",), "must be an object"


def _class_errors(graph: Graph, catalogue: Catalogue) -> Errors:
    for node_id, class_type in catalogue.forbidden(graph):
        yield (node_id, "class_type"), forbidden_class(class_type)
    if not any(_possible_outputs(graph, EngineNodes())):
        yield (), "the workflow has no output node, such as SaveImage"


# --- the graph as a whole -------------------------------------------------------------------------


def _order_errors(graph: Graph, nodes: Callable[[], EngineNodes]) -> Errors:
    """The errors of a graph of which no output can be executed."""
    stuck = broken(graph)
    if not stuck:
        return
    for known in (EngineNodes, nodes):
        if all(node_id in stuck for node_id in _possible_outputs(graph, known())):
            yield from _dangling_errors(graph)
            if cycle := _cycle(graph):
                yield (), f"the nodes {' -> '.join(cycle)} form a cycle"
            return


def _possible_outputs(graph: Graph, nodes: EngineNodes) -> Iterator[str]:
    return (n for n, node in graph.items() if may_be_output(node["class_type"], nodes))


def _dangling_errors(graph: Graph) -> Errors:
    for node_id, name, source in dangling(graph):
        yield (node_id, "inputs", name), f"links to node {source!r}, which is not in the workflow"


def _cycle(graph: Graph) -> list[str]:
    """The nodes of one cycle, starting and ending with the same one; empty if there is no cycle."""
    order = TopologicalSorter({n: list(sources_of(node)) for n, node in graph.items()})
    try:
        order.prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes
    return []


# --- values ---------------------------------------------------------------------------------------


def _value_errors(graph: Graph, nodes: Callable[[], EngineNodes]) -> Errors:
    """The values that are no JSON or no text, in inputs that are executed for certain.

    Python's parser accepts them, and programs write them where nothing executes them: in the state
    of a cache, in a title, in a node that is not connected.
    """
    strange = [
        (node_id, name, reason)
        for node_id, node in graph.items()
        for name, value in node["inputs"].items()
        if (reason := _strange(name) or _strange(value))
    ]
    if not strange:
        return
    known = nodes()
    needed = needed_for_certain(graph, known)
    for node_id, name, reason in strange:
        if node_id in needed and known.declares(graph[node_id]["class_type"], name):
            yield (node_id, "inputs", name), reason


def _strange(value: Any) -> str | None:
    """Why the value cannot be executed; None if it can."""
    if isinstance(value, str):
        return None if _is_text(value) else "has half of a surrogate pair, which is no character"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON value"
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list):
        parts = value
    return next(filter(None, map(_strange, parts)), None)


def _is_text(value: str) -> bool:
    """Whether every character can be encoded: half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
