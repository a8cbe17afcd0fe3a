"""Run every command that the documentation shows against the deployment, exactly as shown.

The quickstart's blocks and the samples of the OpenAPI document, for curl, run as they are printed.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from comfyline.client import Comfyline
from comfyline.contract.ids import OwnerId
from comfyline.contract.problems import PROBLEMS
from comfyline.contract.v1.operations import OPERATIONS
from comfyline.contract.v1.samples import samples
from localcloud.state import ROOT, Endpoints, State
from tests.e2e.account import Account
from tests.e2e.conftest import make
from tests.support.documents import blocks, commands, documents
from tests.support.programs import printed

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
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def shell(script: str, folder: Path, settings: Mapping[str, str]) -> str:
    """What the script prints; each of its commands must succeed."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_PROXY": "*", **settings}
    command = ["bash", "-e", "-o", "pipefail", "-c", script]
    return printed(command, variables, folder=folder, seconds=100)


def test_the_quickstart_leads_to_a_picture(endpoints: Endpoints, tmp_path: Path) -> None:
    steps = blocks(ROOT / "docs" / "quickstart.md", "sh")
    assert len(steps) == 4
    settings = {"COMFYLINE_URL": endpoints.api_url, "COMFYLINE_API_KEY": endpoints.api_key}
    printed = shell("\n".join(steps), tmp_path, settings)
    assert '"status": "succeeded"' in printed
    with Image.open(tmp_path / "fox.png") as image:
        image.verify()


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_a_sample_for_curl_works(
    method: str, path: str, endpoints: Endpoints, client: Comfyline, tmp_path: Path
) -> None:
    """It is answered as its operation documents: a success, or a refusal of this job's state."""
    operation = OPERATIONS[method, path]
    (sample, *_) = samples(method, path, operation)
    settings = {"COMFYLINE_URL": endpoints.api_url, "COMFYLINE_API_KEY": endpoints.api_key}
    if "JOB_ID" in sample["source"]:
        needs_its_files = "{number}" in path
        start = client.run if needs_its_files else client.submit
        settings["JOB_ID"] = start("a red fox in the snow").id
    if "KEY_ID" in sample["source"]:
        key = Account(endpoints).new_key(OwnerId("samples-" + secrets.token_hex(4)))
        settings["KEY_ID"] = key.split("_")[1]
    script = sample["source"].replace("curl -s ", "curl -s -o answer -w '%{http_code}' ", 1)
    status = int(shell(script, tmp_path, settings))
    refused = {PROBLEMS[code].status for code in ("job_not_retryable", "forbidden")}
    assert status in operation.answers or status in refused, (tmp_path / "answer").read_text()


def test_the_site_is_built_without_anything_from_elsewhere(tmp_path: Path) -> None:
    done = make("site", SITE=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = [path for path in tmp_path.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 50
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', text)
        loaded += re.findall(r'<link rel="(?:stylesheet|preconnect|icon)" href="([^"]+)"', text)
        assert [address for address in loaded if address.startswith(("http", "//"))] == [], page


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
