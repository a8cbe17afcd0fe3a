"""Deploys the same templates to LocalStack or to a real account, and writes their endpoints.

Docker Compose starts LocalStack and the workers as containers on this machine. In a real account,
`cdk deploy` creates the stacks, and the deployed fleet runs the workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import boto3

from localcloud import readiness
from localcloud.cloud import OWNERS, Report, new_key
from localcloud.deployment import deploy
from localcloud.emulator import ADMINISTRATOR, REGION, Emulator
from localcloud.state import ROOT, CloudFailed, Endpoints, State
from localcloud.synthesis import synthesise
from localcloud.task import Task

COMPOSE_FILE = ROOT / "docker-compose.localstack.yml"
LOCALSTACK_PORT = 4566
CDK = ("npx", "--yes", "aws-cdk@2.1148.1")
PREFLIGHT = ("comfyline", "admin", "preflight")
LOCALSTACK_DEPLOYMENT = "deployments/localstack.toml"


async def up_in_localstack(state: State, workers: int, report: Report) -> Endpoints:
    """Start LocalStack and `workers` containers, deploy, and write `endpoints.json`.

    Raises:
        CloudFailed: a step failed.
    """
    state.prepare()
    report("Starting LocalStack")
    compose(state, "up", "--detach", "--wait", "localstack")
    report("Synthesising and deploying the stacks")
    assembly = await asyncio.to_thread(synthesise, LOCALSTACK_DEPLOYMENT)
    localstack = Emulator(f"http://127.0.0.1:{LOCALSTACK_PORT}", pid=0)
    outputs = await asyncio.to_thread(deploy, assembly, localstack)
    task = await asyncio.to_thread(Task.deployed, outputs, localstack)
    write_worker_env(state, task.environment)
    report("Starting the workers")
    compose(state, "up", "--detach", "--build", "--scale", f"worker={workers}", "worker")
    endpoints = _endpoints_of_localstack(
        outputs, await _keys(outputs, localstack.url), localstack.url
    )
    report("Checking that the API answers")
    await readiness.check(endpoints)
    state.write(endpoints)
    return endpoints


def down_in_localstack(state: State) -> None:
    """Stop LocalStack and the workers, and remove their data.

    Raises:
        CloudFailed: Docker could not stop them.
    """
    compose(state, "down", "--volumes", "--remove-orphans")
    worker_env(state).unlink(missing_ok=True)


async def up_on_aws(state: State, deployment: Path, report: Report) -> Endpoints:
    """Deploy to the account of this shell's credentials, and write `endpoints.json`.

    Raises:
        CloudFailed: the account is not ready, or a step failed.
    """
    state.prepare()
    report("Checking the account of this shell's credentials")
    choice = ("--deployment", str(deployment))
    await asyncio.to_thread(_command, *PREFLIGHT, *choice, env=_environment())
    report("Deploying to the account")
    written = state.folder / "outputs.json"
    choice = ("--context", f"deployment={deployment.absolute()}")
    _command(*CDK, "deploy", "--all", *choice, "--outputs-file", str(written), env=_environment())
    stacks: dict[str, dict[str, str]] = json.loads(written.read_text())
    outputs = {name: value for stack in stacks.values() for name, value in stack.items()}
    endpoints = _endpoints_of_account(outputs, await _keys(outputs, None))
    report("Checking that the API answers")
    await readiness.check(endpoints)
    state.write(endpoints)
    return endpoints


# --- Docker ---------------------------------------------------------------------------------------


def compose(state: State, *arguments: str) -> None:
    """Run Docker Compose with the project's file.

    Raises:
        CloudFailed: it failed, or a variable that the file requires is missing.
    """
    environ = {**os.environ, "WORKER_ENV": str(worker_env(state))}
    if arguments[0] == "down":
        environ.setdefault("LOCALSTACK_AUTH_TOKEN", "none is needed to stop")
    _command("docker", "compose", "--file", str(COMPOSE_FILE), *arguments, env=environ)


def worker_env(state: State) -> Path:
    """The file from which Compose reads the worker's environment variables."""
    return state.folder / "worker.env"


def write_worker_env(state: State, environment: Mapping[str, str]) -> None:
    """Write the environment variables of the task definition, one on each line."""
    lines = [f"{name}={value}\n" for name, value in environment.items()]
    worker_env(state).write_text("".join(lines))


def _command(*arguments: str, env: Mapping[str, str]) -> None:
    if shutil.which(arguments[0], path=env.get("PATH")) is None:
        raise CloudFailed(f"{arguments[0]} is not installed. Install it, and try again.")
    done = subprocess.run(arguments, cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        command = " ".join(arguments[:3])
        raise CloudFailed(f"{command} … ended with {done.returncode}. Its output is above.")


# --- the endpoints --------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    # .venv contains a Node.js and the operator's commands.
    return {**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}


async def _keys(outputs: Mapping[str, str], aws_url: str | None) -> list[str]:
    return [await new_key(owner, outputs, aws_url) for owner in OWNERS]


def _endpoints_of_localstack(
    outputs: Mapping[str, str], keys: Sequence[str], url: str
) -> Endpoints:
    domain = f"execute-api.localhost.localstack.cloud:{LOCALSTACK_PORT}"
    sockets, stage = outputs["WebSocketApiId"], outputs["WebSocketStage"]
    return Endpoints(
        target="localstack",
        api_url=f"http://{outputs['HttpApiId']}.{domain}",
        ws_url=f"ws://{sockets}.{domain}/{stage}",
        api_key=keys[0],
        second_api_key=keys[1],
        aws_endpoint_url=url,
        aws_access_key_id=ADMINISTRATOR[0],
        aws_secret_access_key=ADMINISTRATOR[1],
        region=REGION,
        outputs=dict(outputs),
    )


def _endpoints_of_account(outputs: Mapping[str, str], keys: Sequence[str]) -> Endpoints:
    return Endpoints(
        target="aws",
        api_url=outputs["HttpApiUrl"].rstrip("/"),
        ws_url=outputs["WebSocketUrl"],
        api_key=keys[0],
        second_api_key=keys[1],
        region=boto3.Session().region_name or REGION,
        outputs=dict(outputs),
    )
