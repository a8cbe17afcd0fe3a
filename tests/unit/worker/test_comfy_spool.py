"""The spool of pictures: appended bytes are read back, from memory and from disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.outcomes import SentPicture
from gpu_worker.comfy.spool import IN_MEMORY_BYTES, Spool


@given(st.lists(st.binary(max_size=50)), st.randoms())
def test_everything_is_read_back_in_any_order(contents: list[bytes], order: object) -> None:
    spool = Spool()
    kept = [(spool.append(content), content) for content in contents]
    order.shuffle(kept)  # type: ignore[attr-defined]
    assert [span.read() for span, _ in kept] == [content for _, content in kept]
    assert spool.size == sum(map(len, contents))


def test_what_does_not_fit_into_memory_is_read_back_too() -> None:
    spool = Spool()
    large = bytes(IN_MEMORY_BYTES)
    spans = [spool.append(b"first"), spool.append(large), spool.append(b"last")]
    assert [span.read() for span in spans] == [b"first", large, b"last"]


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("image/png", "image_12:3_00002.png"),
        ("image/jpeg", "image_12:3_00002.jpeg"),
        ("image/webp", "image_12:3_00002.webp"),
    ],
)
def test_a_picture_is_named_after_its_node_and_number(content_type: str, name: str) -> None:
    body = Spool().append(b"x")
    picture = SentPicture(
        node="12:3", node_type=None, number=2, content_type=content_type, body=body
    )
    assert (picture.name, picture.read()) == (name, b"x")
