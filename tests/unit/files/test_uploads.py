"""The suffix under which a node gets an uploaded file."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.files.uploads import StoredUpload, file_suffix
from tests.support.builders import NOW


def suffix(name: str, content_type: str = "application/octet-stream") -> str:
    return file_suffix(StoredUpload(content_type, 3, NOW, name))


@pytest.mark.parametrize(
    ("name", "content_type", "expected"),
    [
        ("a.png", "image/png", ".png"),
        ("a.JPG", "image/jpeg", ".jpg"),
        ("scene.splat", "application/octet-stream", ".splat"),
        ("a.tar.gz", "application/gzip", ".gz"),
        ("a.jpeg", "image/png", ".jpeg"),  # the caller has named it so
        ("", "audio/flac", ".flac"),  # stored before names were
        ("photo", "image/webp", ".webp"),
        ("photo.", "image/webp", ".webp"),
        (".png", "image/webp", ".webp"),
        ("a.p/ng", "image/webp", ".webp"),
        ("a.png [output]", "image/webp", ".webp"),
        ("a.png\n", "image/webp", ".webp"),
        ("a." + "x" * 16, "image/webp", ".webp"),
        ("photo", "application/octet-stream", ""),
        ("list.m3u8", "video/mp4", ""),  # ffmpeg would open the files that it names
        ("list.M3U", "video/mp4", ""),
        ("list", "audio/x-mpegurl", ""),
    ],
)
def test_the_suffix_of_a_file(name: str, content_type: str, expected: str) -> None:
    assert suffix(name, content_type) == expected


@given(st.text())
def test_any_name_gives_a_harmless_suffix(name: str) -> None:
    assert re.fullmatch(r"(\.[a-z0-9]{1,15})?", suffix(name))
