"""Names of stored files."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.collector import MAX_NAME_LENGTH, safe_name


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("ComfyUI_00001_.png", "ComfyUI_00001_.png"),
        ("हिन्दी.png", "हिन्दी.png"),
        ("ภาษาไทยที่นี่.png", "ภาษาไทยที่นี่.png"),
        ("日本語.png", "日本語.png"),
        (unicodedata.normalize("NFD", "Café Ångström.png"), "Café Ångström.png"),
        ("நன்றி.webp", "நன்றி.webp"),
        ("क्‍ष.png", "क्‍ष.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b (1).png", "a b (1).png"),
        ('a?b*c"<d>.png', "a_b_c__d_.png"),
        ("a\ud800b.png", "a_b.png"),
        ("a\u202egnp.exe", "a_gnp.exe"),
        ("...", "file"),
        ("", "file"),
    ],
)
def test_letters_and_marks_of_every_script_are_kept(name: str, stored: str) -> None:
    assert safe_name(name) == stored


@given(st.text(st.characters(), max_size=300))
def test_a_name_is_safe_and_bounded_and_stays_as_it_is(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= MAX_NAME_LENGTH
    assert not set(safe) & set('/\\<>:"|?*\x00\n&;$`')
    safe.encode()  # no lone surrogate
    assert safe_name(safe) == safe
