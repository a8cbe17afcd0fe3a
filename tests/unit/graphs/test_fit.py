"""Before an engine gets a graph, nodes are left out, but none that an output may need."""

from __future__ import annotations

import pytest
from hypothesis import given

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.fit import MAX_WARNINGS, fitted
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.needs import broken, dangling, needed_perhaps
from tests.support import recordings
from tests.unit.graphs.graphs import EMPTY, GOOD, GRAPHS, SAVE, node

UNKNOWN = EngineNodes()
KNOWN = EngineNodes.parse(recordings.object_info())


@given(GRAPHS)
def test_nothing_is_left_out_for_an_unknown_engine(graph: Graph) -> None:
    assert fitted(graph, UNKNOWN).graph is graph
    assert not fitted(graph, UNKNOWN).left_out


@given(GRAPHS)
def test_only_broken_nodes_that_no_output_needs_are_left_out(graph: Graph) -> None:
    found = fitted(graph, KNOWN)
    gone = graph.keys() - found.graph.keys()
    assert gone == broken(graph) - needed_perhaps(graph, KNOWN)
    assert {w.node_id for w in found.left_out if w.type == "node_left_out"} == gone
    assert list(found.graph) == [node_id for node_id in graph if node_id not in gone]
    missing = {source for _, _, source in dangling(found.graph)}
    assert not missing & gone  # no link leads to a node that was left out
    assert fitted(found.graph, KNOWN).graph is found.graph


def test_a_graph_that_is_whole_stays_as_it_is() -> None:
    assert fitted(GOOD, KNOWN).graph is GOOD


def test_a_broken_branch_is_left_out_and_told() -> None:
    branch = {
        "3": node("ImageInvert", image=["99", 0]),
        "4": node("ImageScale", image=["3", 0]),
        "5": node("ImageBatch", image1=["5", 0], image2=["1", 0]),
    }
    found = fitted(GOOD | branch, KNOWN)
    assert found.graph == GOOD
    assert [(w.node_id, w.node_type) for w in found.left_out] == [
        ("3", "ImageInvert"),
        ("4", "ImageScale"),
        ("5", "ImageBatch"),
    ]
    assert "links to the missing node 99" in found.left_out[0].message
    assert all(w.message.endswith("no output needs it.") for w in found.left_out)


def test_what_feeds_a_broken_branch_stays() -> None:
    branch = {"3": EMPTY, "4": node("ImageBatch", image1=["3", 0], image2=["99", 0])}
    assert fitted(GOOD | branch, KNOWN).graph == GOOD | {"3": EMPTY}


@pytest.mark.parametrize(
    "added",
    [
        {"3": node("SaveImage", images=["99", 0])},  # an output itself
        {"3": node("ImageInvert", image=["99", 0]), "4": node("PreviewImage", images=["3", 0])},
        {"3": node("NotInstalled", image=["99", 0])},  # may be an output
        {"3": node("ImageInvert", image=["99", 0]), "4": node("NotInstalled", x=["3", 0])},
        {"3": node("CasePlainText", text=["99", 0])},  # an output of a custom node
    ],
)
def test_what_an_output_may_need_goes_to_the_engine(added: Graph) -> None:
    assert fitted(GOOD | added, KNOWN).graph == GOOD | added


def test_a_link_that_would_stop_comfyui_is_left_out() -> None:
    odd = {**EMPTY, "inputs": {**EMPTY["inputs"], "gone": ["99", 0], "there": ["2", 0]}}
    found = fitted({"1": odd, "2": SAVE}, KNOWN)
    assert found.graph["1"]["inputs"] == {**EMPTY["inputs"], "there": ["2", 0]}
    (warning,) = found.left_out
    assert (warning.type, warning.node_id, warning.node_type) == (
        "input_left_out",
        "1",
        "EmptyImage",
    )


def test_many_warnings_are_counted() -> None:
    many = {str(n): node("ImageInvert", image=["99999", 0]) for n in range(10, 5_000)}
    found = fitted(GOOD | many, KNOWN)
    assert found.graph == GOOD
    assert len(found.left_out) == MAX_WARNINGS + 1
    assert found.left_out[-1].message == f"{len(many) - MAX_WARNINGS} more were left out."
