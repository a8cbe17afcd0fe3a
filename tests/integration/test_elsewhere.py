"""Deployments to LocalStack and AWS. Scripts that record their arguments replace Docker and npx."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localcloud import elsewhere
from localcloud.__main__ import app
from localcloud.elsewhere import compose, up_on_aws, worker_env, write_worker_env
from localcloud.state import CloudFailed, Endpoints, State

OUTPUTS = {
    "api": {"HttpApiUrl": "https://a.example.com/", "WebSocketUrl": "wss://b.example.com/live"},
    "data": {"KeysTable": "keys"},
}
RECORDER = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["RECORD"], "a") as record:
    kept = {{n: os.environ.get(n) for n in ("WORKER_ENV", "LOCALSTACK_AUTH_TOKEN")}}
    record.write(json.dumps([sys.argv[1:], kept]) + "\\n")
if "--outputs-file" in sys.argv:
    with open(sys.argv[sys.argv.index("--outputs-file") + 1], "w") as outputs:
        outputs.write({json.dumps(OUTPUTS)!r})
sys.exit(int(os.environ.get("STATUS", "0")))
"""


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.prepare()
    return state


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the calls of these programs, one on each line."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "npx", "comfyline"):
        (programs / name).write_text(RECORDER)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setattr(elsewhere, "_environment", lambda: dict(elsewhere.os.environ))
    return tmp_path / "record"


def calls(record: Path) -> list[Any]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def test_compose_gets_the_path_of_the_workers_variables(state: State, record: Path) -> None:
    compose(state, "up", "localstack")
    ((arguments, variables),) = calls(record)
    assert arguments == ["compose", "--file", str(elsewhere.COMPOSE_FILE), "up", "localstack"]
    assert variables == {"WORKER_ENV": str(worker_env(state)), "LOCALSTACK_AUTH_TOKEN": None}


def test_the_workers_variables_are_those_of_the_task_definition(state: State) -> None:
    write_worker_env(state, {"JOBS_TABLE": "jobs", "LOW_QUEUE_URL": "http://a/b=c"})
    assert worker_env(state).read_text() == "JOBS_TABLE=jobs\nLOW_QUEUE_URL=http://a/b=c\n"


def test_an_error_names_the_docker_command_that_failed(
    state: State, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", "7")
    with pytest.raises(CloudFailed, match="docker compose --file … ended with 7"):
        compose(state, "up")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CloudFailed, match="docker is not installed"):
        compose(state, "up")


def test_an_error_names_the_deployment_file_that_is_missing(state: State) -> None:
    options = ["--state", str(state.folder), "--target", "aws", "--deployment", "none.toml"]
    done = CliRunner().invoke(app, ["up", *options])
    assert done.exit_code == 2
    assert "none.toml" in done.output


def test_make_up_fails_if_localstack_does_not_start(
    state: State, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", "1")
    done = CliRunner().invoke(app, ["up", "--state", str(state.folder), "--target", "localstack"])
    assert done.exit_code == 1
    assert "docker compose" in done.output
    assert state.read() is None


def test_localstack_is_stopped_even_if_its_start_has_failed(state: State, record: Path) -> None:
    write_worker_env(state, {})
    done = CliRunner().invoke(app, ["down", "--state", str(state.folder), "--target", "localstack"])
    assert done.exit_code == 0, done.output
    ((arguments, variables),) = calls(record)
    assert arguments[3:] == ["down", "--volumes", "--remove-orphans"]
    # The Compose file requires a token, though stopping LocalStack needs none.
    assert variables["LOCALSTACK_AUTH_TOKEN"]
    assert not worker_env(state).exists()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account in which keys can be created and the API answers."""

    async def new_key(owner: str, outputs: Any, aws_url: str | None) -> str:
        assert (outputs["KeysTable"], aws_url) == ("keys", None)
        return f"cl_{owner}"

    async def check(endpoints: Endpoints) -> None:
        assert endpoints.api_url == "https://a.example.com"

    monkeypatch.setattr(elsewhere, "new_key", new_key)
    monkeypatch.setattr(elsewhere.readiness, "check", check)


@pytest.mark.usefixtures("answering")
async def test_the_cdk_deploys_the_file_to_an_account(state: State, record: Path) -> None:
    file = Path("deployments/dev.toml")
    endpoints = await up_on_aws(state, file, lambda line: None)
    (preflight, _), (arguments, _) = calls(record)
    assert preflight == ["admin", "preflight", "--deployment", "deployments/dev.toml"]
    assert arguments[1] == "aws-cdk@2.1148.1"
    assert arguments[2:6] == ["deploy", "--all", "--context", f"deployment={file.absolute()}"]
    assert endpoints == state.read()
    assert (endpoints.target, endpoints.aws_endpoint_url) == ("aws", "")
    assert endpoints.ws_url == "wss://b.example.com/live"
    assert endpoints.api_key != endpoints.second_api_key


@pytest.mark.usefixtures("answering")
async def test_an_account_that_is_not_ready_gets_no_deployment(
    state: State, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATUS", "1")
    with pytest.raises(CloudFailed, match="comfyline admin preflight"):
        await up_on_aws(state, Path("deployments/dev.toml"), lambda line: None)
    assert len(calls(record)) == 1


@pytest.mark.usefixtures("answering")
async def test_make_down_deletes_nothing_in_an_account(state: State, record: Path) -> None:
    await up_on_aws(state, Path("deployments/dev.toml"), lambda line: None)
    done = CliRunner().invoke(app, ["down", "--state", str(state.folder)])
    assert done.exit_code == 1
    assert "docs/deploy.md" in done.output
    assert state.read() is not None
