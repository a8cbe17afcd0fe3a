"""The pictures of the command line's screens."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from comfyline.client.progress import display
from comfyline.contract.v1.socket import ProgressMessage
from tools.screens import SCREENS, Screen, as_svg, frames_of

JOB = "job_" + "0" * 26


def bars() -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80)
    with display(console, [JOB]) as show:
        for number in range(1, 11):
            show(ProgressMessage(job_id=JOB, version=number, progress=number / 10))
            console.file.flush()
    return out.getvalue()


def test_the_frames_of_a_bar_are_its_states_in_order() -> None:
    frames = frames_of(bars())
    assert {frame.count("\n") for frame in frames} == {0}
    shown = [int(number) for frame in frames for number in re.findall(r"(\d+)%", frame)]
    assert shown == sorted(shown)
    assert shown[-1] == 100


def test_lines_without_movement_are_one_frame() -> None:
    assert frames_of("one\r\n\x1b[31mtwo\x1b[0m\r\n") == ["one\n\x1b[31mtwo\x1b[0m"]


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_picture_shows_its_command_and_loads_nothing(screen: Screen) -> None:
    picture = as_svg(screen, "\x1b[31mred\x1b[0m <b>\r\n")
    assert "red" in picture
    assert "&lt;b&gt;" in picture
    assert not re.search(r"@font-face|url\((?!#)|href|<script", picture)
