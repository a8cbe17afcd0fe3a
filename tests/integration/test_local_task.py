"""The worker of a local cloud gets the task definition's environment, and its engine's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.cloud import Options, directory_of
from localcloud.emulator import Emulator
from localcloud.state import State
from localcloud.task import Task


@pytest.mark.parametrize("directory", [None, Path("/engine")])
def test_the_worker_learns_the_folder_of_its_engine(directory: Path | None) -> None:
    program = Task({"JOBS_TABLE": "jobs"}, "role").program(
        1,
        emulator=Emulator(url="http://127.0.0.1:4566", pid=1),
        credentials="http://credentials",
        comfyui="http://comfyui",
        directory=directory,
    )
    shown = program.environment.get("COMFYUI_DIRECTORY")
    assert shown == (None if directory is None else "/engine")
    assert program.environment["COMFYUI_URL"] == "http://comfyui"


def test_only_an_engine_of_one_worker_has_a_folder(tmp_path: Path) -> None:
    state, mine = State(tmp_path), Path("/mine")
    assert directory_of(1, Options(), state) == tmp_path / "comfyui-1"
    assert directory_of(1, Options(comfyui_url=""), state) == tmp_path / "comfyui-1"
    real = {"comfyui_url": "http://x", "comfyui_directory": mine}
    assert directory_of(0, Options(**real), state) == mine
    assert directory_of(0, Options(**real, workers=2), state) is None
    assert directory_of(0, Options(comfyui_url="http://x"), state) is None
