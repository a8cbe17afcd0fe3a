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
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.graphs.graph import Graph, with_input

# The kind of file that an input takes, by the input's name in ComfyUI's loader nodes.
_KINDS: Mapping[str, str] = {
    "image": "image",
    "mask": "image",
    "audio": "audio",
    "video": "video",
    "file": "video",
}
_REFERENCE = re.compile("upload:(" + UPLOAD_ID_PATTERN.strip("^$") + ")")


@dataclass(frozen=True, slots=True)
class Reference:
    """An input of a graph that names an upload."""

    node: str
    node_type: str
    input: str
    upload_id: UploadId

    @property
    def kind(self) -> str | None:
        """The kind of file that the input takes: image, audio or video. None: it takes no file."""
        return _KINDS.get(self.input)

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


def with_inputs(graph: Graph, inputs: Mapping[str, str]) -> Graph:
    """The graph with the inputs replaced that `inputs` names: `"<node>.<input>": "upload:<id>"`.

    Raises:
        InvalidRequest: the graph does not have such a node, or the value names no upload.
    """
    placed: dict[str, Any] = dict(graph)
    errors = []
    for place, value in inputs.items():
        node_id, _, name = place.partition(".")
        if node_id not in placed or not name:
            message = 'must be "<node>.<input>" with a node of the workflow'
            errors.append(FieldError(("body", "inputs", place), message))
        elif not _REFERENCE.fullmatch(value):
            errors.append(FieldError(("body", "inputs", place), 'must be "upload:<id>"'))
        else:
            placed[node_id] = with_input(placed[node_id], name, value)
    if errors:
        raise InvalidRequest("The inputs cannot be placed.", errors)
    return placed


def with_files(graph: Graph, name_of: Callable[[Reference], str]) -> Graph:
    """The graph with each reference to an upload replaced by the name of its file."""
    placed: dict[str, Any] = dict(graph)
    for found in references(graph):
        placed[found.node] = with_input(placed[found.node], found.input, name_of(found))
    return placed
