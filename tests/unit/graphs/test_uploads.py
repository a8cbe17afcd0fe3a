"""Where uploads are placed: at any node id, and nowhere over a link or a number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.contract.ids import UploadId
from comfyline.service.errors import InvalidRequest
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.uploads import Reference, references, with_files, with_inputs
from tests.support import recordings
from tests.unit.graphs.graphs import node

UNKNOWN = EngineNodes()
KNOWN = EngineNodes.parse(recordings.object_info())
BOTH = pytest.mark.parametrize("nodes", [UNKNOWN, KNOWN], ids=["unknown engine", "known engine"])

ID = UploadId("upl_" + "0" * 26)
SENT = f"upload:{ID}"


# --- places ---------------------------------------------------------------------------------------


def placed(place: str, graph: dict[str, Any], nodes: EngineNodes = UNKNOWN) -> list[Reference]:
    return list(references(with_inputs(graph, {place: SENT}, lambda: nodes)))


@pytest.mark.parametrize(
    ("place", "node_id", "input_name"),
    [
        ("1.image", "1", "image"),
        ("23.0.0.1.image", "23.0.0.1", "image"),
        ("12:3.image", "12:3", "image"),
        ("a b.image", "a b", "image"),
        (".image", "", "image"),
        ("1.images.image0", "1", "images.image0"),
        ("23.0.0.1.images.image0", "23.0.0.1", "images.image0"),
        ("1..image", "1", ".image"),
    ],
)
def test_a_place_is_split_where_a_node_is(place: str, node_id: str, input_name: str) -> None:
    graph = {n: node("LoadImage") for n in ("1", "23.0.0.1", "23.0", "12:3", "a b", "")}
    assert placed(place, graph) == [Reference(node_id, "LoadImage", input_name, ID)]


def test_the_longest_node_id_wins() -> None:
    graph = {"1": node("A"), "1.a": node("B")}
    assert placed("1.a.b", graph) == [Reference("1.a", "B", "b", ID)]
    assert placed("1.b.c", graph) == [Reference("1", "A", "b.c", ID)]


@given(st.text(max_size=6), st.text(min_size=1, max_size=6), st.sets(st.text(max_size=4)))
def test_any_node_can_be_named(node_id: str, input_name: str, others: set[str]) -> None:
    graph = {n: node("LoadImage") for n in {node_id, *others}}
    (found,) = placed(f"{node_id}.{input_name}", graph)
    assert f"{found.node}.{found.input}" == f"{node_id}.{input_name}"
    assert len(found.node) >= len(node_id)


@pytest.mark.parametrize("place", ["9.image", "1", "1.", "", ".", "image"])
def test_a_place_without_a_node_is_refused(place: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be placed") as caught:
        placed(place, {"1": node("LoadImage")})
    assert caught.value.errors[0].loc == ("body", "inputs", place)


@pytest.mark.parametrize("value", ["", "a.png", "upload:", "upload:upl_1", f" {SENT}"])
def test_a_value_that_names_no_upload_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        with_inputs({"1": node("LoadImage")}, {"1.image": value}, lambda: UNKNOWN)


@BOTH
@pytest.mark.parametrize("value", [["2", 0], 7, 0.5, True], ids=repr)
def test_a_link_or_a_number_is_not_replaced(value: object, nodes: EngineNodes) -> None:
    graph = {"1": node("AnyLoader", thing=value), "2": node("EmptyImage")}
    with pytest.raises(InvalidRequest):
        placed("1.thing", graph, nodes)


def test_a_link_is_replaced_where_the_engine_takes_a_file() -> None:
    graph = {"1": node("LoadImage", image=["2", 0]), "2": node("PrimitiveString", value="a.png")}
    assert placed("1.image", graph, KNOWN) == [Reference("1", "LoadImage", "image", ID)]
    with pytest.raises(InvalidRequest):
        placed("1.image", graph, UNKNOWN)


@pytest.mark.parametrize("value", ["example.png", "", None, ["a", "b", "c"], {"a": 1}], ids=repr)
def test_every_other_value_is_replaced(value: object) -> None:
    assert placed("1.thing", {"1": node("AnyLoader", thing=value)})


def test_the_engine_is_not_asked_without_inputs() -> None:
    def unasked() -> EngineNodes:
        raise AssertionError

    graph = {"1": node("LoadImage")}
    assert with_inputs(graph, {}, unasked) == graph


def test_files_take_the_place_of_references() -> None:
    graph = {"1": node("LoadImage", image=SENT, x=1), "2": node("LoadAudio", audio="a.flac")}
    filled = with_files(graph, lambda found: f"{found.upload_id}.png")
    assert filled["1"]["inputs"] == {"image": f"{ID}.png", "x": 1}
    assert filled["2"] == graph["2"]
