"""The media types and kinds of files do not depend on the machine."""

from __future__ import annotations

import mimetypes

import pytest

from comfyline.contract import media_types
from comfyline.contract.media_types import kind_of, media_type_of, suffix_of

ROWS = [(kind, type_) for kind, types in media_types._TYPES.items() for type_ in types]


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [
        ("a.flac", "audio", "audio/flac"),
        ("a.OGG", "audio", "audio/ogg"),
        ("a.opus", "audio", "audio/opus"),
        ("a.m4a", "audio", "audio/mp4"),
        ("a.mp3", "audio", "audio/mpeg"),
        ("a.wav", "audio", "audio/wav"),
        ("a.aac", "audio", "audio/aac"),
        ("a.mp4", "video", "video/mp4"),
        ("a.webm", "video", "video/webm"),
        ("a.mkv", "video", "video/x-matroska"),
        ("a.mov", "video", "video/quicktime"),
        ("a.avi", "video", "video/x-msvideo"),
        ("a.gif", "animation", "image/gif"),
        ("a.apng", "animation", "image/apng"),
        ("a.webp", "image", "image/webp"),
        ("a.avif", "image", "image/avif"),
        ("a.jxl", "image", "image/jxl"),
        ("a.heic", "image", "image/heic"),
        ("a.exr", "image", "image/x-exr"),
        ("a.svg", "image", "image/svg+xml"),
        ("a.b.JPEG", "image", "image/jpeg"),
        ("a.glb", "model", "model/gltf-binary"),
        ("a.gltf", "model", "model/gltf+json"),
        ("a.fbx", "model", "model/x-fbx"),
        ("a.usdz", "model", "model/vnd.usdz+zip"),
        ("a.splat", "model", "model/x-splat"),
        ("a.safetensors", "model", "application/x-safetensors"),
        ("a.latent", "latent", "application/x-comfyui-latent"),
        ("a.npz", "array", "application/x-npz"),
        ("a.json", "text", "application/json"),
        ("a.srt", "text", "application/x-subrip"),
        ("a.pdf", "document", "application/pdf"),
        ("a.zip", "archive", "application/zip"),
        ("a.xyz", "file", "application/octet-stream"),
        ("png", "file", "application/octet-stream"),
        (".png", "file", "application/octet-stream"),
        ("a.", "file", "application/octet-stream"),
        ("", "file", "application/octet-stream"),
    ],
)
def test_kind_and_type_follow_from_the_suffix(name: str, kind: str, media_type: str) -> None:
    assert (kind_of(name), media_type_of(name)) == (kind, media_type)


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=[row.name for _, row in ROWS])
def test_every_type_and_its_aliases_lead_to_its_first_suffix_and_back(
    kind: str, row: media_types._Type
) -> None:
    first, *_ = suffixes = row.suffixes.split()
    assert {suffix_of(name) for name in (row.name, *row.aliases.split())} == {f".{first}"}
    assert {media_type_of(f"a.{suffix}") for suffix in suffixes} == {row.name}
    assert {kind_of(f"a.{suffix}") for suffix in suffixes} == {kind}


def test_each_suffix_and_each_name_is_in_one_row_only() -> None:
    suffixes = [suffix for _, row in ROWS for suffix in row.suffixes.split()]
    names = [name for _, row in ROWS for name in (row.name, *row.aliases.split())]
    assert (len(suffixes), len(names)) == (len(set(suffixes)), len(set(names)))


def test_types_with_parameters_and_capitals_are_understood() -> None:
    assert suffix_of("Text/Plain; charset=utf-8") == ".txt"
    assert (suffix_of("application/x-unknown"), suffix_of("")) == ("", "")


def test_the_machines_table_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "guess_type", lambda *_: ("text/wrong", None))
    assert media_type_of("a.flac") == "audio/flac"
