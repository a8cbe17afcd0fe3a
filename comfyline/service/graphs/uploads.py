"""References to uploads in a graph.

In an input, the value `upload:<id>` means the owner's upload of that id. The worker replaces the
value by the name of the fetched file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from comfyline.contract.ids import UPLOAD_ID_PATTERN, UploadId
from comfyline.service.errors import FieldError, InvalidGraph
from comfyline.service.graphs.engine_nodes import ANY_KIND, EngineNodes
from comfyline.service.graphs.graph import Graph, is_link, with_input

PREFIX = "upload:"
_REFERENCE = re.compile(PREFIX + "(" + UPLOAD_ID_PATTERN.strip("^$") + ")")
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
    is_nested: bool = False  # in a list or an object that is the value of the input

    def kinds(self, nodes: EngineNodes) -> frozenset[str]:
        """The kinds of files that the input takes; none if it takes no file.

        What the engine says of its classes decides, and the name of the input where it says
        nothing.
        """
        if self.is_nested:
            return frozenset({ANY_KIND})
        kinds = nodes.kinds(self.node_type, self.input)
        if kinds is None:
            return _KINDS_BY_NAME.get(self.input, frozenset({ANY_KIND}))
        return kinds

    def error(self, message: str) -> FieldError:
        """An error of this input."""
        text = f"node {self.node} ({self.node_type}), input {self.input}: {message}"
        return FieldError(("body", "inputs", f"{self.node}.{self.input}"), text)


def references(graph: Graph) -> Iterator[Reference]:
    """Every text in the graph's inputs that names an upload, in lists and objects too."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            for text, is_nested in _texts(value):
                if match := _REFERENCE.fullmatch(text):
                    upload = UploadId(match[1])
                    yield Reference(node_id, node["class_type"], name, upload, is_nested)


def takes_upload(node_type: str, name: str, nodes: EngineNodes) -> bool:
    """Whether the editor shows an upload button for the input, as far as is known."""
    kinds = nodes.kinds(node_type, name)
    if kinds is None:
        return name in _KINDS_BY_NAME
    return bool(kinds) and not nodes.takes_path(node_type, name)


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
    for (node_id, name), found in groupby(references(graph), lambda each: (each.node, each.input)):
        names = {f"{PREFIX}{each.upload_id}": name_of(each) for each in found}
        value = with_texts(placed[node_id]["inputs"][name], names)
        placed[node_id] = with_input(placed[node_id], name, value)
    return placed


def with_texts(value: Any, texts: Mapping[str, str]) -> Any:
    """The JSON value with the texts replaced that `texts` names, in lists and objects too."""
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [with_texts(part, texts) for part in value]
    if isinstance(value, dict):
        return {name: with_texts(part, texts) for name, part in value.items()}
    return value


def _texts(value: Any, is_nested: bool = False) -> Iterator[tuple[str, bool]]:
    if isinstance(value, str):
        yield value, is_nested
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part, True)


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
