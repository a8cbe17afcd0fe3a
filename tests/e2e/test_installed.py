"""The two wheels, each installed into an empty environment, with the deployed service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.state import ROOT, Endpoints
from tests.support.installed import UV, environment

pytestmark = pytest.mark.usefixtures("local")

PAGE = (ROOT / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
# The others need a job's id or a workflow's file.
ALONE = [text for text in EXAMPLES if "job_01" not in text and "graph.json" not in text]


def wheel(project: Path, folder: Path) -> Path:
    options = ("--quiet", "--offline", "--no-build-isolation", "--python", sys.executable)
    subprocess.run([UV, "build", "--wheel", *options, "--out-dir", folder, project], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(ROOT, tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, client_wheel: Path) -> Path:
    """The programs of an environment with the wheel for clients."""
    return environment(tmp_path_factory.mktemp("empty") / "venv", client_wheel)


def variables(endpoints: Endpoints, folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "COMFYLINE_CONFIG": str(folder / "config"),
        "COMFYLINE_URL": endpoints.api_url,
        "COMFYLINE_WS_URL": endpoints.ws_url,
        "COMFYLINE_API_KEY": endpoints.api_key,
    }


def run(
    folder: Path, environ: dict[str, str], *command: str | Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_are_examples_that_need_nothing_else() -> None:
    assert len(ALONE) >= 5


@pytest.mark.parametrize("number", range(len(ALONE)))
def test_an_example_of_the_docs_runs(
    programs: Path, endpoints: Endpoints, tmp_path: Path, number: int
) -> None:
    (tmp_path / "example.py").write_text(ALONE[number])
    environ = variables(endpoints, tmp_path)
    done = run(tmp_path, environ, programs / "python", "-W", "error", "example.py")
    assert done.returncode == 0, done.stderr
    if "download" in ALONE[number]:
        assert list((tmp_path / "pictures").iterdir())


def test_type_checkers_accept_every_example_of_the_docs(programs: Path, tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(example)
    options = ("--strict", "--python-executable", programs / "python", "--cache-dir", "cache")
    done = run(tmp_path, dict(os.environ), sys.executable, "-m", "mypy", *options, ".")
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.py").write_text(
        'from comfyline.client import Comfyline\nComfyline().submit("a fox", stepz=7)\n'
    )
    done = run(tmp_path, dict(os.environ), sys.executable, "-m", "mypy", *options, "wrong.py")
    assert "stepz" in done.stdout


def test_the_command_line_logs_in_and_draws(
    programs: Path, endpoints: Endpoints, tmp_path: Path
) -> None:
    """From an empty environment to a picture, by a profile alone."""
    environ = {
        name: value
        for name, value in variables(endpoints, tmp_path).items()
        if name in ("PATH", "COMFYLINE_CONFIG")
    }
    comfyline = programs / "comfyline"
    login = run(
        *(tmp_path, environ, comfyline, "login", "--url", endpoints.api_url),
        stdin=endpoints.api_key + "\n",
    )
    assert login.returncode == 0, login.stderr
    assert endpoints.api_key not in login.stdout + login.stderr
    drawn = run(tmp_path, environ, comfyline, "submit", "a fox", "--steps", "3", "--out", "out")
    assert drawn.returncode == 0, drawn.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1
    found = run(tmp_path, environ, comfyline, "doctor", "--json")
    states = {
        line["name"]: (line["state"], line["found"])
        for line in map(json.loads, found.stdout.splitlines())
    }
    assert {state for state, _ in states.values()} == {"ok"}, states
    status = run(tmp_path, environ, comfyline, "status", "--json")
    assert json.loads(status.stdout)["service"]["workers"] >= 1
    events = run(tmp_path, environ, comfyline, "events", drawn.stdout.split()[0][:14])
    assert [line.split()[-3:][0] for line in events.stdout.splitlines()][-1:] == ["succeeded"]


def test_the_wheel_for_clients_has_no_commands_for_operators(
    programs: Path, tmp_path: Path
) -> None:
    done = run(tmp_path, {"PATH": os.environ["PATH"]}, programs / "comfyline", "keys", "list")
    assert done.returncode == 1
    assert "pip install comfyline-operator" in done.stderr
    boto = run(tmp_path, {"PATH": ""}, programs / "python", "-c", "import boto3")
    assert "No module named 'boto3'" in boto.stderr


def test_the_wheel_for_operators_lists_the_keys_of_a_stage(
    client_wheel: Path, endpoints: Endpoints, tmp_path: Path
) -> None:
    (tmp_path / "operator").mkdir()
    operator = wheel(ROOT / "packaging" / "operator", tmp_path / "operator")
    installed = environment(tmp_path / "venv", client_wheel, operator)
    environ = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoints.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": endpoints.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoints.aws_secret_access_key,
        "AWS_REGION": endpoints.region,
        "AWS_DEFAULT_REGION": endpoints.region,
    }
    command = (installed / "comfyline", "keys", "--stage", "local", "list", "--json")
    done = run(tmp_path, environ, *command)
    assert done.returncode == 0, done.stderr
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert endpoints.api_key.split("_")[1] in ids
