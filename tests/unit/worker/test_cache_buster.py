"""A graph is changed only where a node writes files, and only by one further input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from gpu_worker.comfy.cache_buster import CACHE_BUSTER, with_cache_buster, with_inner_prefixes
from tests.support import recordings

CORE = EngineNodes.parse(recordings.object_info())
UNKNOWN = EngineNodes()
GRAPH: Graph = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
    "3": {"class_type": "ExportMesh", "inputs": {"save_prefix": "m"}},
    "4": {"class_type": "ShowPath", "inputs": {"path": ["3", 0]}},
    "5": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
}


def marked_nodes(graph: Graph, nodes: EngineNodes) -> set[str]:
    changed = with_cache_buster(graph, nodes, "x")
    return {node_id for node_id, node in changed.items() if node["inputs"].get(CACHE_BUSTER) == "x"}


def test_writers_and_last_nodes_are_marked() -> None:
    assert marked_nodes(GRAPH, CORE) == {"2", "3", "4", "5"}
    assert marked_nodes(GRAPH, UNKNOWN) == {"2", "3", "4", "5"}


def test_a_known_node_that_is_no_output_is_not_marked() -> None:
    graph: Graph = {"1": GRAPH["1"]}
    assert marked_nodes(graph, CORE) == set()
    assert marked_nodes(graph, UNKNOWN) == {"1"}


def test_an_output_node_in_the_middle_is_marked_where_it_is_known() -> None:
    graph: Graph = {
        "1": {"class_type": "PreviewImage", "inputs": {}},
        "2": {"class_type": "Unknown", "inputs": {"images": ["1", 0]}},
    }
    assert marked_nodes(graph, CORE) == {"1", "2"}
    assert marked_nodes(graph, UNKNOWN) == {"2"}


@pytest.mark.parametrize(
    ("class_type", "inputs"),
    [
        ("LoadTrainingDataset", {"folder_name": "set"}),
        ("LoadImageDataSetFromFolder", {"folder": "set"}),
        ("Load3D", {"image": {"image": "x.png"}}),
        ("PrimitiveString", {"value": "mesh.glb [output]"}),
    ],
)
def test_a_node_that_reads_folders_is_marked(class_type: str, inputs: dict[str, object]) -> None:
    graph: Graph = {
        "1": {"class_type": class_type, "inputs": inputs},
        "2": {"class_type": "EmptyImage", "inputs": {"width": ["1", 0]}},
    }
    assert "1" in marked_nodes(graph, CORE)


@pytest.mark.parametrize(
    ("prefix", "is_marked"),
    [("loras/a", True), ("./vae/a", True), ("loras", False), ("my/loras/a", False)],
)
def test_nothing_of_a_graph_that_saves_models_is_cached(prefix: str, is_marked: bool) -> None:
    graph: Graph = {
        "1": {"class_type": "LoraLoader", "inputs": {"lora_name": ["3", 0]}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
        "3": {"class_type": "EmptyImage", "inputs": {}},
    }
    assert marked_nodes(graph, CORE) == ({"1", "2", "3"} if is_marked else {"2"})


def test_nothing_else_is_changed() -> None:
    changed = with_cache_buster(GRAPH, CORE, "x")
    for node_id, node in changed.items():
        inputs = {name: value for name, value in node["inputs"].items() if name != CACHE_BUSTER}
        assert {**node, "inputs": inputs} == GRAPH[node_id]


def with_prefix(prefix: str) -> str:
    graph = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}}}
    changed: str = with_inner_prefixes(graph)["1"]["inputs"]["filename_prefix"]
    return changed


@pytest.mark.parametrize(
    ("prefix", "inner"),
    [
        ("../../etc/x", "etc/x"),
        ("/abs/x", "abs/x"),
        ("a/../../x", "x"),
        ("..", "ComfyUI"),
        ("/", "ComfyUI"),
        ("a/../b", "a/../b"),
        ("a/b", "a/b"),
        ("", ""),
        ("a\\b", "a\\b"),
        ("%date:yyyy%/x", "%date:yyyy%/x"),
        ("...x", "...x"),
    ],
)
def test_only_a_prefix_that_leads_out_is_changed(prefix: str, inner: str) -> None:
    assert with_prefix(prefix) == inner


@given(st.text(st.sampled_from("ab./\\ "), max_size=20))
def test_no_prefix_leads_out_of_the_output_folder(prefix: str) -> None:
    inner = with_prefix(prefix)
    depth = 0
    for part in inner.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        assert depth >= 0
    assert not inner.startswith("/")
