"""Every command that a document shows is run, as it is shown, against the deployment."""

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

# Shown, and not run here. Whatever else is shown is run.
EXCUSED = {
    "make test": "it is what runs now",
    "make unit": "a part of what runs now",
    "make check": "continuous integration runs it before the tests",
    "make up": "run at the start of these tests, in a folder of their own",
    "make down": "run at the end of these tests",
    "make run": "run below, with its files looked at",
}
SHOWN = sorted({command for page in documents() for command in commands(page)})


def test_the_documents_show_commands() -> None:
    assert set(EXCUSED) <= set(SHOWN)


@pytest.mark.parametrize("command", [command for command in SHOWN if command not in EXCUSED])
def test_a_command_that_is_shown_works(
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
def test_make_run_shows_progress_and_leaves_a_picture(tmp_path: Path) -> None:
    done = make("run", OUT=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "running" in done.stdout
    assert "step" in done.stdout
    (picture,) = tmp_path.glob("*.png")
    with Image.open(picture) as image:
        image.verify()
    assert str(picture) in done.stdout
