"""Assets in a graph: objects of the type `core/ASSET`, or names of files.

    {"__type": "core/ASSET", "info": {"id": "<asset id>", ...}}

may stand wherever a value of an input stands, also in a list or an object. A plain name may stand
where the editor shows an upload button. The graph is as the caller sent it, so nothing of its
shape is certain here; what is no node is left to the check of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfyline.service.errors import FieldError
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import with_input
from comfyline.service.graphs.uploads import PREFIX, takes_upload

TYPE = "core/ASSET"


@dataclass(frozen=True, slots=True)
class AssetPlace:
    """An input of a graph that names an asset: by its id, which is None if that is malformed."""

    node: str
    input: str
    asset_id: str | None

    def error(self, message: str) -> FieldError:
        """An error of this input."""
        text = f"node {self.node}, input {self.input}: {message}"
        return FieldError(("body", "workflow", self.node, "inputs", self.input), text)


def asset_places(graph: Mapping[str, Any]) -> Iterator[AssetPlace]:
    """Every object of the type `core/ASSET` in the graph's inputs."""
    for node_id, _, name, value in _inputs(graph):
        for asset_id in _ids(value):
            yield AssetPlace(node_id, name, asset_id)


def with_uploads(graph: Mapping[str, Any], uploads: Mapping[str, str]) -> Mapping[str, Any]:
    """The graph with each asset replaced by the reference to its upload; by the asset's id."""
    placed = dict(graph)
    for node_id, _, name, value in _inputs(graph):
        if next(_ids(value), None) is not None:
            placed[node_id] = with_input(placed[node_id], name, _replaced(value, uploads))
    return placed


def plain_names(graph: Mapping[str, Any], nodes: EngineNodes) -> Iterator[tuple[str, str, str]]:
    """Node, input and value of each input that takes an uploaded file and has a plain text."""
    for node_id, node, name, value in _inputs(graph):
        class_type = node.get("class_type")
        is_name = isinstance(value, str) and value and not value.startswith(PREFIX)
        if is_name and isinstance(class_type, str) and takes_upload(class_type, name, nodes):
            yield node_id, name, value


def _inputs(graph: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str, Any]]:
    for node_id, node in graph.items():
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            for name, value in node["inputs"].items():
                yield node_id, node, name, value


def _ids(value: Any) -> Iterator[str | None]:
    if _is_asset(value):
        yield _id_of(value)
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _ids(part)


def _replaced(value: Any, uploads: Mapping[str, str]) -> Any:
    if _is_asset(value):
        return uploads[_id_of(value) or ""]
    if isinstance(value, list):
        return [_replaced(part, uploads) for part in value]
    if isinstance(value, dict):
        return {name: _replaced(part, uploads) for name, part in value.items()}
    return value


def _is_asset(value: Any) -> bool:
    return isinstance(value, dict) and value.get("__type") == TYPE


def _id_of(value: Mapping[str, Any]) -> str | None:
    info = value.get("info")
    asset_id = info.get("id") if isinstance(info, dict) else None
    return asset_id if isinstance(asset_id, str) and asset_id else None
