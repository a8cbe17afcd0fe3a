"""What an engine says of its node classes: a recorded description, and malformed ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.graphs.engine_nodes import EngineNodes
from tests.support import recordings

INFO = recordings.object_info()
NODES = EngineNodes.parse(INFO)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part),
)


def described(**changes: Any) -> dict[str, Any]:
    """The description of a well-formed node class, with these changes."""
    return {
        "input": {"required": {}},
        "output": [],
        "output_node": False,
        "python_module": "nodes",
        **changes,
    }


def test_knows_every_recorded_class() -> None:
    assert all(NODES.knows(name) for name in INFO)
    assert not NODES.knows("Absent")
    assert NODES
    assert not EngineNodes()


@pytest.mark.parametrize(
    ("name", "is_output"),
    [
        ("SaveImage", True),
        ("PreviewImage", True),
        ("SaveImageWebsocket", True),
        ("PreviewAny", True),
        ("PrimitiveString", False),
        ("KSampler", False),
        ("Absent", False),
    ],
)
def test_outputs(name: str, is_output: bool) -> None:
    assert NODES.is_output(name) is is_output


@pytest.mark.parametrize(
    ("name", "is_core"),
    [
        ("SaveImage", True),  # python_module nodes
        ("SaveAudio", True),  # comfy_extras.nodes_audio
        ("ClaudeNode", True),  # comfy_api_nodes.nodes_anthropic
        ("SaveImageWebsocket", False),  # custom_nodes.websocket_image_save
        ("CasePlainText", False),
        ("Absent", False),
    ],
)
def test_core_classes(name: str, is_core: bool) -> None:
    assert NODES.is_core(name) is is_core


@pytest.mark.parametrize("module", ["nodes.py", "nodes2", "xcomfy_extras.a", "comfy_extras", "", 1])
def test_another_module_is_not_core(module: object) -> None:
    nodes = EngineNodes.parse({"A": described(python_module=module)})
    assert nodes.knows("A")
    assert not nodes.is_core("A")


@pytest.mark.parametrize(
    ("name", "file_inputs"),
    [
        ("LoadImage", {"image": {"image", "animation"}}),
        ("LoadImageMask", {"image": {"image", "animation"}}),
        ("LoadImageOutput", {"image": {"image", "animation"}}),
        ("LoadAudio", {"audio": {"audio", "video"}}),
        ("LoadVideo", {"file": {"video", "animation"}}),
        ("Load3D", {"model_file": {"any"}}),
        ("Painter", {"mask": {"image", "animation"}}),
        ("KSampler", {}),
        ("CLIPTextEncode", {}),  # its text has several lines
        ("CaseUnreportedFile", {"filename_prefix": {"any"}}),
        ("Absent", {}),
    ],
)
def test_file_inputs(name: str, file_inputs: dict[str, set[str]]) -> None:
    assert {key: set(kinds) for key, kinds in NODES.file_inputs(name).items()} == file_inputs


@pytest.mark.parametrize(
    ("name", "input_name", "kinds"),
    [
        ("KSampler", "model", set()),  # some node outputs a MODEL
        ("KSampler", "steps", set()),
        ("CLIPTextEncode", "text", set()),
        ("SaveImage", "images", set()),
        ("SaveImage", "prompt", None),  # hidden: no caller sets it
        ("LoadImage", "absent", None),
        ("Absent", "image", None),
    ],
)
def test_kinds_of_one_input(name: str, input_name: str, kinds: set[str] | None) -> None:
    assert NODES.kinds(name, input_name) == kinds


def test_only_a_text_is_read_as_a_path() -> None:
    assert NODES.takes_path("CaseUnreportedFile", "filename_prefix")
    assert not NODES.takes_path("LoadImage", "image")
    assert not NODES.takes_path("Painter", "mask")  # a text, but with an upload button
    assert not NODES.takes_path("Absent", "image")


@pytest.mark.parametrize(
    ("name", "input_name", "declares"),
    [
        ("LoadImage", "image", True),
        ("LoadLatent", "latent", True),  # of unknown kinds
        ("SaveImage", "comfyline", False),
        ("SaveImage", "prompt", False),  # hidden
        ("BatchImagesNode", "images.image7", True),
        ("SaveImage", "a.b", False),
        ("Absent", "image", True),
    ],
)
def test_declared_inputs(name: str, input_name: str, declares: bool) -> None:
    assert NODES.declares(name, input_name) is declares


def test_a_type_that_no_node_outputs_may_be_a_widget() -> None:
    inputs = {"required": {"a": ["LINK"], "b": ["WIDGET"], "c": ["LINK,WIDGET"]}}
    nodes = EngineNodes.parse(
        {"A": described(input=inputs), "B": described(output=["LINK"])},
    )
    assert [nodes.kinds("A", name) for name in "abc"] == [frozenset(), None, None]


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        [],
        "text",
        {},
        described(output_node=None),
        described(output_node="True"),
        described(output_node=1),
    ],
)
def test_a_class_without_a_clear_output_flag_is_unknown(malformed: object) -> None:
    nodes = EngineNodes.parse({"Bad": malformed, "Good": described(output_node=True)})
    assert not nodes.knows("Bad")
    assert not nodes.is_output("Bad")
    assert nodes.is_output("Good")


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        [],
        {"required": None},
        {"required": {"image": None}},
        {"required": {"image": []}},
        {"required": {"image": {}}},
        {"required": {"image": [None, None]}},
        {"required": {"image": [[], "text"]}},
        {"required": {"image": [{"a": []}, {"image_upload": "yes"}]}},
        {"optional": {"image": ["COMBO", {"image_upload": False}]}},
    ],
)
def test_a_malformed_input_is_unknown(inputs: object) -> None:
    nodes = EngineNodes.parse({"A": described(input=inputs)})
    assert nodes.knows("A")
    assert nodes.kinds("A", "image") is None


@given(JSON | st.dictionaries(st.sampled_from(sorted(INFO)), JSON))
def test_any_json_is_parsed(value: Any) -> None:
    nodes = EngineNodes.parse(value)
    assert EngineNodes.from_json(json.loads(json.dumps(nodes.to_json()))) == nodes


@given(JSON | st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=7), JSON)))
def test_any_compact_json_is_read(value: Any) -> None:
    nodes = EngineNodes.from_json(value)
    assert EngineNodes.from_json(nodes.to_json()) == nodes


def test_the_compact_form_keeps_everything() -> None:
    compact = json.dumps(NODES.to_json(), separators=(",", ":"))
    assert EngineNodes.from_json(json.loads(compact)) == NODES
    assert len(compact) < len(json.dumps(INFO)) / 4


def test_equal_nodes_have_one_compact_form() -> None:
    turned = dict(reversed(INFO.items()))
    assert json.dumps(EngineNodes.parse(turned).to_json()) == json.dumps(NODES.to_json())
