"""References to uploads in a graph.

In an input, the value `upload:<id>` means the owner's upload of that id. The worker replaces the
value by the name of the fetched file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfyline.contract.ids import UPLOAD_ID_PATTERN, UploadId
from comfyline.service.errors import FieldError, InvalidGraph
from comfyline.service.graphs.engine_nodes import ANY_KIND, EngineNodes
from comfyline.service.graphs.graph import Graph, is_link, with_input

_REFERENCE = re.compile("upload:(" + UPLOAD_ID_PATTERN.strip("^$") + ")")
# The kinds of files that an input takes in most nodes, by its name. Any other input of which
# nothing is known takes every file, because the caller has named it.
_KINDS_BY_NAME: Mapping[str, frozenset[str]] = {
    "image": frozenset({"image", "animation"}),
    "mask": frozenset({"image", "animation"}),
    "audio": frozenset({"audio", "video"}),
    "video": frozenset({"video", "animation"}),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """An input of a graph that names an upload."""

    node: str
    node_type: str
    input: str
    upload_id: UploadId

    def kinds(self, nodes: EngineNodes) -> frozenset[str]:
        """The kinds of files that the input takes; none if it takes no file.

        What the engine says of its classes decides, and the name of the input where it says
        nothing.
        """
        kinds = nodes.kinds(self.node_type, self.input)
        if kinds is None:
            return _KINDS_BY_NAME.get(self.input, frozenset({ANY_KIND}))
        return kinds

    def error(self, message: str) -> FieldError:
        """An error of this input."""
        text = f"node {self.node} ({self.node_type}), input {self.input}: {message}"
        return FieldError(("body", "inputs", f"{self.node}.{self.input}"), text)


def references(graph: Graph) -> Iterator[Reference]:
    """Every input of the graph that names an upload."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and (match := _REFERENCE.fullmatch(value)):
                yield Reference(node_id, node["class_type"], name, UploadId(match[1]))


def with_inputs(graph: Graph, inputs: Mapping[str, str], nodes: Callable[[], EngineNodes]) -> Graph:
    """The graph with the inputs replaced that `inputs` names: `"<node>.<input>": "upload:<id>"`.

    `nodes` is called only if there are such inputs.

    Raises:
        InvalidGraph: there is no such node, the value names no upload, or nothing says that the
            input takes a file and it has a link or a number.
    """
    placed: dict[str, Any] = dict(graph)
    errors = []
    for place, value in inputs.items():
        node_id, name = _split(place, graph)
        if node_id is None:
            message = 'must be "<node>.<input>" with a node of the workflow'
        elif not _REFERENCE.fullmatch(value):
            message = 'must be "upload:<id>"'
        elif _is_taken(graph[node_id], name, nodes()):
            message = "this input has a link or a number, and is not known to take a file"
        else:
            placed[node_id] = with_input(placed[node_id], name, value)
            continue
        errors.append(FieldError(("body", "inputs", place), message))
    if errors:
        raise InvalidGraph("The inputs cannot be placed.", errors)
    return placed


def with_files(graph: Graph, name_of: Callable[[Reference], str]) -> Graph:
    """The graph with each reference to an upload replaced by the name of its file."""
    placed: dict[str, Any] = dict(graph)
    for found in references(graph):
        placed[found.node] = with_input(placed[found.node], found.input, name_of(found))
    return placed


def _split(place: str, graph: Graph) -> tuple[str | None, str]:
    """The node and the input that the place names; no node if there is none. Both may have dots."""
    at = len(place)
    while (at := place.rfind(".", 0, at)) >= 0:
        if place[:at] in graph and place[at + 1 :]:
            return place[:at], place[at + 1 :]
    return None, ""


def _is_taken(node: Mapping[str, Any], name: str, nodes: EngineNodes) -> bool:
    value = node["inputs"].get(name)
    return (is_link(value) or isinstance(value, int | float)) and not nodes.kinds(
        node["class_type"], name
    )
