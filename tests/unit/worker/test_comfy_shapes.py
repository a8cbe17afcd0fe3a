"""Every value that is read from the engine can be stored and shown."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.shapes import engine_json

ANY_TEXT = st.text(st.characters())  # halves of surrogate pairs among them
VALUES = st.recursive(
    ANY_TEXT | st.integers() | st.booleans() | st.none(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(ANY_TEXT, part, max_size=3),
)


@pytest.mark.parametrize("as_bytes", [True, False])
@given(value=VALUES)
def test_every_text_can_be_encoded_and_others_stay(value: Any, as_bytes: bool) -> None:
    text = json.dumps(value)
    read = engine_json(text.encode() if as_bytes else text)
    json.dumps(read, ensure_ascii=False).encode()
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert read == value


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (r'"cut \ud83d"', "cut \ufffd"),
        (r'"\uD83D\uDE00"', "😀"),
        (r'["\udc00", {"\ud800": 1}]', ["\ufffd", {"\ufffd": 1}]),
        (r'"\\ud83d"', "\\ud83d"),
    ],
)
def test_half_a_pair_is_replaced(sent: str, read: Any) -> None:
    assert engine_json(sent) == read


def test_nan_is_read() -> None:
    assert math.isnan(engine_json(b"[NaN]")[0])
