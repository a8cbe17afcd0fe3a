"""Run every command that the documentation shows against the deployment, exactly as shown."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from localcloud.state import ROOT, Endpoints, State
from tests.e2e.conftest import make
from tests.support.documents import commands, documents

# Commands that the documentation shows but `test_a_documented_command_works` does not run, and why.
EXCUSED = {
    "make test": "this test is a part of it",
    "make unit": "`make test` runs it too",
    "make check": "continuous integration runs it before the tests",
    "make up": "the `state` fixture runs it, with its own folder",
    "make down": "the `state` fixture runs it at the end",
    "make run": "the test below runs it and checks its files",
}
SHOWN = sorted({command for page in documents() for command in commands(page)})


def test_the_documents_show_commands() -> None:
    assert set(EXCUSED) <= set(SHOWN)


@pytest.mark.parametrize("command", [command for command in SHOWN if command not in EXCUSED])
def test_a_documented_command_works(
    command: str, endpoints: Endpoints, state: State, tmp_path: Path
) -> None:
    here = command.replace(".local/", f"{state.folder}/").replace("--out out", f"--out {tmp_path}")
    done = subprocess.run(
        shlex.split(here),
        cwd=ROOT,
        env={
            "PATH": os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]]),
            "HOME": str(tmp_path),
            "COMFYLINE_URL": endpoints.api_url,
            "COMFYLINE_WS_URL": endpoints.ws_url,
            "COMFYLINE_API_KEY": endpoints.api_key,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("local")
def test_make_run_shows_progress_and_saves_a_picture(tmp_path: Path) -> None:
    done = make("run", OUT=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "running" in done.stdout
    assert "step" in done.stdout
    (picture,) = tmp_path.glob("*.png")
    with Image.open(picture) as image:
        image.verify()
    assert str(picture) in done.stdout
