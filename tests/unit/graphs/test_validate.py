"""Graphs are accepted wherever ComfyUI accepts them, or refused with the places of their errors.

What a real ComfyUI 0.33 does with each of these graphs was tried by hand.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given

from comfyline.service.errors import MAX_FIELD_ERRORS, InvalidRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import MAX_NAME, Graph
from comfyline.service.graphs.needs import broken, may_be_output
from comfyline.service.graphs.validate import MAX_NODES, validate_graph
from tests.support import recordings
from tests.support.builders import a_graph
from tests.unit.graphs.graphs import ANYTHING, EMPTY, GOOD, GRAPHS, SAVE, node

UNKNOWN = EngineNodes()
KNOWN = EngineNodes.parse(recordings.object_info())
CUT = "cut \ud83d"
STRANGE = [math.nan, math.inf, -math.inf, CUT]

BOTH = pytest.mark.parametrize("nodes", [UNKNOWN, KNOWN], ids=["unknown engine", "known engine"])


def refusal(sent: Any, nodes: EngineNodes = UNKNOWN) -> InvalidRequest | None:
    try:
        assert validate_graph(sent, Catalogue(), lambda: nodes) is sent
    except InvalidRequest as error:
        return error
    return None


def places(sent: Any, nodes: EngineNodes = UNKNOWN) -> list[str]:
    """Where the errors are, without their common beginning."""
    error = refusal(sent, nodes)
    assert error is not None
    return [".".join(map(str, each.loc[2:])) for each in error.errors]


def unasked() -> EngineNodes:
    raise AssertionError("a usual graph needs to know no engine")


@given(ANYTHING | GRAPHS)
def test_a_value_is_a_graph_or_is_refused_with_places(sent: Any) -> None:
    error = refusal(sent)
    if error is not None:
        assert 0 < len(error.errors) <= MAX_FIELD_ERRORS
        assert all(each.loc[:2] == ("body", "workflow") for each in error.errors)
        return
    assert sent
    assert all(isinstance(node["class_type"], str) for node in sent.values())
    assert all(isinstance(node["inputs"], dict) for node in sent.values())


@given(GRAPHS)
def test_a_graph_is_accepted_if_any_output_may_be_executed(graph: Graph) -> None:
    outputs = {n for n in graph if may_be_output(graph[n]["class_type"], UNKNOWN)}
    assert (refusal(graph) is None) == bool(outputs - broken(graph))


def test_the_graph_of_the_parameter_form_is_valid() -> None:
    assert validate_graph(a_graph(), Catalogue(), unasked) == a_graph()


# --- what ComfyUI accepts -------------------------------------------------------------------------

UNNEEDED = {
    "a link to a missing node": {"3": node("ImageInvert", image=["99", 0])},
    "a node that links to itself": {"3": node("ImageInvert", image=["3", 0])},
    "a cycle": {
        "3": node("ImageInvert", image=["4", 0]),
        "4": node("ImageInvert", image=["3", 0]),
    },
    "half a pair": {"3": node("PrimitiveString", value=CUT)},
    "half a pair, nested": {"3": node("PrimitiveString", value={"a": [CUT]})},
    "half a pair in a name": {"3": node("PrimitiveString", **{CUT: 1})},
    "NaN": {"3": node("PrimitiveString", value=math.nan)},
    "one output of two": {"3": node("SaveImage", images=["99", 0])},
    "an output after a cycle": {
        "3": node("ImageInvert", image=["3", 0]),
        "4": node("PreviewImage", images=["3", 0]),
    },
}


@BOTH
@pytest.mark.parametrize("added", UNNEEDED.values(), ids=UNNEEDED)
def test_what_no_good_output_needs_is_accepted(added: Graph, nodes: EngineNodes) -> None:
    assert refusal(GOOD | added, nodes) is None


@BOTH
@pytest.mark.parametrize("strange", STRANGE, ids=repr)
@pytest.mark.parametrize("key", ["is_changed", "_meta", "comment", CUT])
def test_what_is_not_an_input_may_hold_anything(
    key: str, strange: object, nodes: EngineNodes
) -> None:
    for value in (strange, [strange], {"title": strange}):
        assert refusal({"1": {**EMPTY, key: value}, "2": SAVE}, nodes) is None


@BOTH
@pytest.mark.parametrize(
    "images",
    [
        ["1", 0],
        ["1", -1],
        ["1", False],
        ["1", 0.0],  # from here on, ComfyUI reports an error of the node
        [1, 0],
        ["1"],
        ["1", 0, 0],
        ["1", "0"],
        [],
        ["a", "b"],
        {"__value__": ["a", 0]},
        None,
    ],
    ids=repr,
)
def test_what_only_comfyui_can_judge_is_left_to_it(images: object, nodes: EngineNodes) -> None:
    assert refusal({"1": EMPTY, "2": node("SaveImage", images=images)}, nodes) is None


@BOTH
@pytest.mark.parametrize(
    "ids", [("", "x"), ("a.b:c/d é", "2"), ("23.0.0.1", "12:3"), ("x" * MAX_NAME, "🦊")]
)
def test_ids_of_all_kinds_are_accepted(ids: tuple[str, str], nodes: EngineNodes) -> None:
    first, second = ids
    graph = {first: EMPTY, second: node("SaveImage", images=[first, 0], filename_prefix="a")}
    assert refusal(graph, nodes) is None


def test_thousands_of_nodes_are_accepted() -> None:
    many = {str(n): node("PrimitiveString", value=str(n)) for n in range(10, 5_010)}
    assert refusal(GOOD | many) is None
    assert refusal({str(n): EMPTY for n in range(MAX_NODES + 1)}) is not None


def test_large_canvases_and_many_frames_are_accepted() -> None:
    canvas = node("EmptyImage", width=16_384, height=16_384, batch_size=4_096, color=0)
    assert refusal({"1": canvas, "2": SAVE}) is None


# --- what ComfyUI refuses, or does not survive ----------------------------------------------------


@BOTH
@pytest.mark.parametrize("strange", STRANGE, ids=repr)
@pytest.mark.parametrize("nested", [lambda v: v, lambda v: [v], lambda v: {"a": {"b": v}}])
def test_a_strange_value_that_is_executed_is_refused(
    nested: Any, strange: object, nodes: EngineNodes
) -> None:
    bad = {**EMPTY, "inputs": {**EMPTY["inputs"], "width": nested(strange)}}
    assert places({"1": bad, "2": SAVE}, nodes) == ["1.inputs.width"]


def test_a_strange_value_that_may_be_executed_is_left_to_the_engine() -> None:
    graph = GOOD | {"3": node("Unknown", value=math.nan)}
    assert refusal(graph, UNKNOWN) is None
    outputs = EngineNodes.parse({"Unknown": {"output_node": True, "input": None}})
    assert refusal(graph, outputs) is None  # Unknown declares no input `value`


def test_a_strange_value_that_the_engine_ignores_is_accepted() -> None:
    ignored = {**EMPTY, "inputs": {**EMPTY["inputs"], "is_changed": [math.nan]}}
    assert refusal({"1": ignored, "2": SAVE}, KNOWN) is None
    assert places({"1": ignored, "2": SAVE}, UNKNOWN) == ["1.inputs.is_changed"]


@BOTH
@pytest.mark.parametrize(
    ("graph", "errors"),
    [
        ({"2": SAVE}, ["2.inputs.images"]),
        ({"1": node("ImageInvert", image=["9", 0]), "2": SAVE}, ["1.inputs.image"]),
        ({"1": node("ImageInvert", image=["1", 0]), "2": SAVE}, [""]),
        ({"1": EMPTY, "2": node("SaveImage", images=["2", 0])}, [""]),
    ],
)
def test_a_graph_of_which_nothing_can_be_executed_is_refused(
    graph: Graph, errors: list[str], nodes: EngineNodes
) -> None:
    assert places(graph, nodes) == errors


def test_a_known_engine_shows_that_nothing_can_be_executed() -> None:
    graph = {"1": node("PrimitiveStringMultiline", value="x"), "2": node("PreviewAny", x=["9", 0])}
    assert refusal(graph, UNKNOWN) is None  # the first may be an output
    assert places(graph, KNOWN) == ["2.inputs.x"]


@BOTH
@pytest.mark.parametrize(
    ("bad", "errors"),
    [
        (None, ["3"]),
        ("x", ["3"]),
        ([], ["3"]),
        ({}, ["3.class_type", "3.inputs"]),
        ({"class_type": "ImageInvert"}, ["3.inputs"]),  # stops ComfyUI's executor
        ({"class_type": "ImageInvert", "inputs": None}, ["3.inputs"]),
        ({"class_type": "ImageInvert", "inputs": []}, ["3.inputs"]),
        ({"inputs": {}}, ["3.class_type"]),
        (node(""), ["3.class_type"]),
        (node("x" * (MAX_NAME + 1)), ["3.class_type"]),
        (node(CUT), ["3.class_type"]),
    ],
)
def test_a_node_without_its_shape_is_refused_although_nothing_needs_it(
    bad: object, errors: list[str], nodes: EngineNodes
) -> None:
    assert places(GOOD | {"3": bad}, nodes) == errors


@pytest.mark.parametrize("node_id", [CUT, "x" * (MAX_NAME + 1)])
def test_an_id_that_is_no_short_text_is_refused(node_id: str) -> None:
    assert places(GOOD | {node_id: EMPTY}) == [""]


@BOTH
def test_a_graph_without_any_output_is_refused(nodes: EngineNodes) -> None:
    assert places({"1": EMPTY}, nodes) == [""]
    assert places({}, nodes) == [""]


def test_a_class_that_is_not_allowed_is_refused_although_nothing_needs_it() -> None:
    graph = GOOD | {"3": node("ImageInvert", image=["99", 0])}
    allowed = Catalogue(node_classes=frozenset({"EmptyImage", "SaveImage"}))
    with pytest.raises(InvalidRequest, match="not a ComfyUI graph") as caught:
        validate_graph(graph, allowed, unasked)
    assert caught.value.errors[0].loc == ("body", "workflow", "3", "class_type")


def test_what_the_editor_saves_is_refused_with_a_hint() -> None:
    error = refusal({"nodes": [], "links": [], "version": 0.4})
    assert error is not None
    assert "Export (API)" in error.detail


@pytest.mark.parametrize("nodes", [UNKNOWN, KNOWN])
def test_any_engine_is_asked_only_where_it_matters(nodes: EngineNodes) -> None:
    validate_graph(GOOD, Catalogue(), unasked)
    asked: list[bool] = []

    def ask() -> EngineNodes:
        asked.append(True)
        return nodes

    validate_graph(GOOD | UNNEEDED["NaN"], Catalogue(), ask)
    assert asked
