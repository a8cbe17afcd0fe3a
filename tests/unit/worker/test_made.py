"""The worker stores the files that nodes report, and all other files that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_worker.comfy.outputs import reported
from gpu_worker.made import everything_made
from gpu_worker.workspace import HeldFile

GRAPH = {"9": {"class_type": "SaveImage", "inputs": {}}}


def made(outputs: dict[str, Any], *paths: str) -> tuple[list[tuple[str, str, bool]], list[str]]:
    """(node, name, temporary) of all that is made, and the messages of the warnings."""
    held = [HeldFile(*path.split("/", 1), Path(path)) for path in paths]
    found, warnings = everything_made(reported(outputs), held, GRAPH)
    return [(m.node, m.name, m.temporary) for m in found], [w.message for w in warnings]


def images(*names: str, kind: str = "output", node: str = "9") -> dict[str, Any]:
    return {node: {"images": [{"filename": name, "type": kind} for name in names]}}


def test_reported_files_come_with_their_node_and_others_without() -> None:
    found, warnings = made(images("a.png"), "output/a.png", "output/x/b.glb")
    assert found == [("9", "a.png", False), ("", "b.glb", False)]
    assert warnings == []


def test_an_unreported_file_belongs_to_the_node_that_mentions_it() -> None:
    outputs = {"7": {"result": ["3d/mesh.glb"]}}
    assert made(outputs, "output/3d/mesh.glb")[0] == [("7", "mesh.glb", False)]


@pytest.mark.parametrize(
    "others",
    [
        {"outputs": images("a.png", node="8"), "paths": ["output/a.png"]},
        {"outputs": {"8": {"text": ["hello"]}}},
        {"outputs": {"8": {"value": [42]}}},
        {"outputs": {}, "paths": ["output/unreported.glb"]},
    ],
)
def test_temporary_files_are_left_out_if_there_is_anything_else(others: dict[str, Any]) -> None:
    outputs = {**images("p.png", kind="temp"), **others["outputs"]}
    paths = ["temp/p.png", "temp/scratch.wav", *others.get("paths", [])]
    found, warnings = made(outputs, *paths)
    assert not {name for _, name, _ in found} & {"p.png", "scratch.wav"}
    assert warnings == []


def test_temporary_files_are_the_result_if_there_is_nothing_else() -> None:
    outputs = {"9": {**images("p.png", kind="temp")["9"], "animated": [False]}}
    assert made(outputs, "temp/p.png", "temp/q.png")[0] == [
        ("9", "p.png", True),
        ("", "q.png", True),
    ]


@pytest.mark.parametrize(
    "keys",
    [
        {"images": [{"filename": "p.glb", "type": "temp"}], "width": [8]},
        {"result": ["p.glb", None, []]},  # as Preview3DAdvanced
    ],
)
def test_a_value_of_the_same_node_is_no_reason_to_leave_temporary_files_out(
    keys: dict[str, Any],
) -> None:
    assert made({"9": keys}, "temp/p.glb") == ([("9", "p.glb", True)], [])


def test_a_reported_file_that_is_gone_is_a_warning_and_the_others_are_kept() -> None:
    found, warnings = made(images("a.png", "gone.png"), "output/a.png")
    assert found == [("9", "a.png", False)]
    assert warnings == ["The node reports the file 'gone.png', which does not exist."]


def test_two_nodes_that_report_one_file_make_one_artifact() -> None:
    both = {**images("a.png"), **images("a.png", node="8")}
    assert made(both, "output/a.png") == ([("9", "a.png", False)], [])


def test_a_file_is_found_by_the_end_of_its_path_if_that_is_unique() -> None:
    outputs = {"9": {"video": ["a.mp4", "clips"]}}
    assert made(outputs, "output/2026/clips/a.mp4")[0] == [("9", "a.mp4", False)]
    found, warnings = made(outputs, "output/1/clips/a.mp4", "output/2/clips/a.mp4")
    assert len(found) == 2
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "place",
    [
        {"subfolder": "/sub", "type": "output"},
        {"subfolder": "sub\\", "type": "output"},
        {"subfolder": "latest", "type": "output"},  # a link to the folder
        {"subfolder": "sub", "type": "OUTPUT"},
    ],
)
def test_a_file_in_a_folder_of_another_name_is_found_by_its_own_name(place: dict[str, str]) -> None:
    outputs = {"9": {"images": [{"filename": "a.png", **place}]}}
    assert made(outputs, "output/sub/a.png") == ([("9", "a.png", False)], [])
    found, warnings = made(outputs, "output/1/a.png", "output/2/a.png")
    assert [node for node, *_ in found] == ["", ""]
    assert len(warnings) == 1


def test_a_file_that_another_node_reports_is_not_taken_for_a_missing_one() -> None:
    first = {"8": {"images": [{"filename": "a.png", "subfolder": "gone", "type": "output"}]}}
    found, warnings = made({**first, **images("a.png")}, "output/a.png")
    assert found == [("9", "a.png", False)]
    assert len(warnings) == 1


def test_an_input_comes_back_only_if_a_node_reports_it() -> None:
    outputs = images("in.png", kind="input")
    assert made(outputs, "input/in.png", "input/other.png")[0] == [("9", "in.png", False)]
