"""Clients see names that they know, and no path of the server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.scrub import without_server_paths

UPLOAD = "upl_" + "0" * 26


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f"cannot identify image file '/work/input/{UPLOAD}.png'",
            f"cannot identify image file 'upload:{UPLOAD}'",
        ),
        (f"image: Invalid image file: {UPLOAD}.png", f"image: Invalid image file: upload:{UPLOAD}"),
        ("No such file: /work/output/x/a_00001_.png", "No such file: x/a_00001_.png"),
        ("full_output_folder: /etc/x\n output_dir: /work/output", None),
        ("[Errno 2] '/opt/comfyui/models/checkpoints/x.safetensors'", "[Errno 2] 'x.safetensors'"),
        ("'/opt/my engine/models/x.ckpt' is broken", "'x.ckpt' is broken"),
        ('File "/opt/engine/lib/python3.13/site-packages/x.py"', 'File "x.py"'),
        ("see https://example.com/a/b for help", "see https://example.com/a/b for help"),
        ("and/or, 1/2/3, a/b/c", "and/or, 1/2/3, a/b/c"),
        ("mat1 and mat2 shapes cannot be multiplied (77x768 and 1024x320)", None),
        (
            "scheduler: 'x' not in ['normal', 'karras']",
            "scheduler: 'x' not in ['normal', 'karras']",
        ),
    ],
)
def test_paths_become_names(text: str, shown: str | None) -> None:
    found = without_server_paths(text, "/work")
    assert shown is None or found == shown
    assert "/work" not in found
    assert "/etc" not in found


def test_paths_are_removed_where_the_engines_folder_is_unknown() -> None:
    text = f"cannot identify '/home/me/ComfyUI/input/{UPLOAD}.webp'"
    assert without_server_paths(text, None) == f"cannot identify 'upload:{UPLOAD}'"


@given(st.text(max_size=200), st.sampled_from([None, "/work"]))
def test_no_text_raises(text: str, base: str | None) -> None:
    assert len(without_server_paths(text, base)) <= len(text) + 7 * text.count("upl_")
