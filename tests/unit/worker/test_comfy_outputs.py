"""Outputs are read from any key of any node, each once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.outputs import OutputFile, OutputText, outputs_of
from tests.support import recordings


def a_file(filename: str, **fields: Any) -> dict[str, Any]:
    return {"filename": filename, "subfolder": "", "type": "output", **fields}


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
    (output,) = outputs_of({"9": {key: [a_file(filename)]}})
    assert (output.node, output.name, output.kind) == ("9", filename, kind)


def test_an_animated_image_is_an_animation() -> None:
    (output,) = outputs_of({"9": {"images": [a_file("a.webp")], "animated": [True]}})
    assert output.kind == "animation"


def test_an_image_that_is_not_animated_is_an_image() -> None:
    (output,) = outputs_of({"9": {"images": [a_file("a.png")], "animated": [False]}})
    assert output.kind == "image"


def test_texts_are_outputs_and_other_strings_are_not() -> None:
    outputs = outputs_of({"5": {"text": ["one", "two"], "format": ["image/png"]}})
    assert outputs == (
        OutputText(node="5", text="one", number=0),
        OutputText(node="5", text="two", number=1),
    )
    assert [output.name for output in outputs] == ["text_5_0.txt", "text_5_1.txt"]


def test_temporary_files_are_left_out_unless_they_are_wanted() -> None:
    made = {"9": {"images": [a_file("p.png", type="temp"), a_file("a.png")]}}
    assert [output.name for output in outputs_of(made)] == ["a.png"]
    assert [output.name for output in outputs_of(made, with_temp=True)] == ["p.png", "a.png"]


def test_a_file_that_is_named_twice_is_one_output() -> None:
    made = {"9": {"images": [a_file("a.png")], "files": [a_file("a.png")]}}
    assert len(outputs_of(made)) == 1


def test_the_subfolder_is_kept() -> None:
    (output,) = outputs_of({"9": {"images": [a_file("a.png", subfolder="x/y")]}})
    assert isinstance(output, OutputFile)
    assert (output.subfolder, output.filename) == ("x/y", "a.png")


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
    assert [output.kind for output in outputs_of(histories[-1])] == kinds


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
    for output in outputs_of(made, with_temp=True):
        assert isinstance(output.name, str)
        assert isinstance(output.kind, str)
