"""A text of another person is printed without effect."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from comfyline.contract.texts import UNSAFE, clean
from tests.support.hostile import hostile_texts


@given(hostile_texts())
def test_any_text_becomes_one_line_that_can_be_encoded_and_steers_nothing(text: str) -> None:
    shown = clean(text)
    shown.encode()
    assert re.search(f"[{UNSAFE}]", shown) is None
    assert len(shown.splitlines()) <= 1
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2J", "?]0;title??[2J"),
        ("\x9b2J", "?2J"),
        ("fox\u202egnp.exe", "fox?gnp.exe"),
        ("cut \ud83d", "cut ?"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("Grüße, שלום, 狐狸 👩‍👩‍👧 [red]", "Grüße, שלום, 狐狸 👩‍👩‍👧 [red]"),
    ],
)
def test_letters_of_all_scripts_stay(text: str, shown: str) -> None:
    assert clean(text) == shown
