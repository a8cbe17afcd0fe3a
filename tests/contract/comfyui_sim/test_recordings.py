"""The simulator behaves as recorded with a real ComfyUI 0.33 in each recorded conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyui_sim.options import Options
from tests.contract.comfyui_sim import test_stalled_reader
from tests.contract.comfyui_sim.player import Player
from tests.contract.comfyui_sim.servers import InProcess, Process
from tests.support import recordings

CHECKPOINTS = ("random-sd15-tiny.safetensors", "random-sd15.safetensors")
OPTIONS: dict[str, Any] = {
    "port": 0,
    "checkpoints": CHECKPOINTS,
    "step_ms": 10.0,
    "start_window_ms": 15.0,  # so that a GET right after the POST finds nothing yet
    "time_scale": 0.25,
}
OPTIONS_OF: dict[str, dict[str, Any]] = {
    "cancel_lost_right_after_submit_cancel": {"start_window_ms": 300.0},
}

# The server's process ends in these recordings, so the simulator runs in a separate process.
DEADLY = {
    "hostile_request_fields",
    "server_dies_inside_a_node",
    "server_killed_mid_run",
    "server_sigterm_mid_run",
    "unserialisable_ui_output",
}
# Recordings with a test of their own.
DRIVEN = {"stalled_reader": test_stalled_reader.test_a_stalled_reader_stops_delivery_to_all}
EXCUSED: dict[str, str] = {}  # by name, with the reason why it cannot be played
PLAYED = sorted(set(recordings.names()) - set(DRIVEN) - set(EXCUSED))


def test_every_recording_is_played_or_excused() -> None:
    assert len(recordings.names()) == 42
    assert set(PLAYED) | set(DRIVEN) | set(EXCUSED) == set(recordings.names())
    assert set(PLAYED) >= DEADLY


@pytest.mark.parametrize("name", PLAYED)
async def test_recording(name: str, tmp_path: Path) -> None:
    options = Options(data_dir=tmp_path, **{**OPTIONS, **OPTIONS_OF.get(name, {})})
    server = Process(options) if name in DEADLY else InProcess(options)
    await Player(name, server, tmp_path).play()
