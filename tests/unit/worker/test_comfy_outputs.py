"""Everything that nodes report is read: files, texts and other values, under any key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.outputs import Reported, reported
from tests.support import recordings


def a_file(filename: str, **fields: Any) -> dict[str, Any]:
    return {"filename": filename, "subfolder": "", "type": "output", **fields}


def of_node(**keys: Any) -> Reported:
    return reported({"9": keys})


def places(found: Reported) -> list[str]:
    return [f"{file.type}/{file.path}" for file in found.files]


@pytest.mark.parametrize(
    ("key", "filename", "kind"),
    [
        ("images", "a.png", "image"),
        ("images", "a.JPEG", "image"),
        ("images", "a.webp", "image"),
        ("gifs", "a.gif", "animation"),
        ("gifs", "a.mp4", "video"),
        ("video", "a.webm", "video"),
        ("audio", "a.flac", "audio"),
        ("latents", "a.latent", "latent"),
        ("files", "notes.txt", "text"),
        ("3d", "mesh.glb", "model"),
        ("anything", "a.xyz", "file"),
        ("anything", "no_suffix", "file"),
    ],
)
def test_the_kind_follows_from_the_suffix_under_any_key(key: str, filename: str, kind: str) -> None:
    (file,) = of_node(**{key: [a_file(filename)]}).files
    assert (file.node, file.name, file.kind) == ("9", filename, kind)


def test_an_animated_image_is_an_animation() -> None:
    (moving,) = of_node(images=[a_file("a.webp")], animated=[True]).files
    (still,) = of_node(images=[a_file("a.png")], animated=[False]).files
    assert (moving.kind, still.kind) == ("animation", "image")


def test_what_tells_of_files_only_is_no_value() -> None:
    found = of_node(images=[a_file("a.png", format="image/png")], animated=[False])
    assert (found.texts, found.values) == ([], {})


def test_a_file_that_is_named_twice_is_one_output() -> None:
    assert len(of_node(images=[a_file("a.png")], files=[a_file("a.png")]).files) == 1


def test_a_file_is_found_at_any_depth() -> None:
    deep = [[[a_file("a.png")]], {"x": a_file("b.png", type="temp"), "y": 3}]
    found = of_node(deep=deep)
    assert places(found) == ["output/a.png", "temp/b.png"]
    assert found.values == {"9": {"deep": [{"y": 3}]}}


def test_the_subfolder_is_a_part_of_the_path() -> None:
    found = of_node(images=[a_file("a.png", subfolder="x/y")])
    assert places(found) == ["output/x/y/a.png"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (["a.mp4", "output"], "output/a.mp4"),
        (["a.mp4", "temp"], "temp/a.mp4"),
        (["a.mp4", "x/y"], "output/x/y/a.mp4"),
        ([["a.mp4", "x"]], "output/x/a.mp4"),
        (["a.mp4"], "output/a.mp4"),
        (["/work/output/x/a.mp4"], "output/x/a.mp4"),
        (["/work/output/temp/a.mp4"], "output/temp/a.mp4"),
        (["/elsewhere/temp/a.mp4"], "temp/a.mp4"),
        ([a_file("/work/temp/a.mp4")], "temp/a.mp4"),
        ([a_file("output/a.mp4")], "output/output/a.mp4"),
        ([a_file("a.mp4", subfolder="/work/output")], "output/a.mp4"),
        ([a_file("a.mp4", subfolder="/work/temp/x/")], "temp/x/a.mp4"),
    ],
)
def test_a_file_may_be_named_by_a_pair_or_a_path(value: list[Any], place: str) -> None:
    found = reported({"9": {"video": value}}, base="/work")
    assert places(found) == [place]
    assert found.values == {}


def test_several_names_are_several_files() -> None:
    assert places(of_node(images=["a.png", "b.png"])) == ["output/a.png", "output/b.png"]


def test_texts_are_numbered_for_each_node() -> None:
    found = of_node(text=["one", "two"])
    assert [text.text for text in found.texts] == ["one", "two"]
    assert [text.name for text in found.texts] == ["text_9_0.txt", "text_9_1.txt"]


@pytest.mark.parametrize("text", ["512x512", "ok", "a", "two\nlines", "ÄÖ\u20ac"])
def test_a_text_that_comfyui_has_split_is_one_text(text: str) -> None:
    assert [found.text for found in of_node(text=list(text)).texts] == [text]
    assert of_node(string=list(text)).values == {"9": {"string": [text]}}


def test_texts_of_one_character_stay_apart_if_their_node_reports_lists() -> None:
    found = reported({"9": {"text": ["7", "8"]}}, returns_lists=lambda node: node == "9")
    assert [text.text for text in found.texts] == ["7", "8"]


def test_the_name_of_a_text_has_the_whole_id_of_its_node() -> None:
    (found,) = reported({"a/b": {"text": ["one"]}}).texts
    assert found.name == "text_a_b_0.txt"


def test_values_under_any_key_are_kept_by_node_and_key() -> None:
    found = of_node(tags=["1girl, solo"], value=[42], text=[7, "seven"], string=["a long answer"])
    assert found.values == {
        "9": {"tags": ["1girl, solo"], "value": [42], "text": [7], "string": ["a long answer"]}
    }
    assert [text.text for text in found.texts] == ["seven"]


def test_a_value_may_mention_a_file() -> None:
    found = of_node(result=["3d/x.glb", {"position": {"x": 1.5}}, "temp/bg.png", None])
    assert found.values == {
        "9": {"result": ["3d/x.glb", {"position": {"x": 1.5}}, "temp/bg.png", None]}
    }
    assert (found.node_of("3d/x.glb"), found.node_of("bg.png")) == ("9", "9")
    assert found.node_of("other.glb") is None


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("batch_of_four", ["image"] * 4),
        ("succeeded_empty_image", ["image"]),
        ("nan_in_ui_output", []),
    ],
)
def test_recorded_histories_yield_their_files(name: str, kinds: list[str]) -> None:
    histories = [
        entry["outputs"]
        for event in recordings.load(name)
        if event["kind"] == "http" and "/history/" in event["path"]
        for entry in (event.get("response_json") or {}).values()
    ]
    assert [file.kind for file in reported(histories[-1]).files] == kinds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)
FILES = st.fixed_dictionaries(
    {"filename": JSON}, optional={"subfolder": JSON, "type": JSON, "format": JSON}
)
KEYS = st.sampled_from(["images", "text", "gifs", "animated", "audio"])


NODES = JSON | st.dictionaries(KEYS, st.lists(JSON | FILES, max_size=3), max_size=2)


@given(st.dictionaries(st.text(max_size=4), NODES, max_size=3))
def test_no_outputs_raise(made: dict[str, Any]) -> None:
    found = reported(made)
    for output in (*found.files, *found.texts):
        assert isinstance(output.name, str)
        assert isinstance(output.kind, str)
    assert set(found.values) <= set(made)
