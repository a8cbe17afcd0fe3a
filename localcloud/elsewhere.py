"""The same templates in LocalStack or in a real account, and where they are then.

Nothing is started on this machine but LocalStack's and the worker's containers, by Docker Compose.
A real account gets what `cdk deploy` gives it; its workers are the fleet's.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import boto3

from localcloud import readiness
from localcloud.cloud import OWNERS, new_key
from localcloud.deployment import deploy
from localcloud.emulator import ADMINISTRATOR, REGION, Emulator
from localcloud.state import ROOT, Endpoints, State
from localcloud.synthesis import synthesise
from localcloud.task import Task

COMPOSE_FILE = ROOT / "docker-compose.localstack.yml"
LOCALSTACK_PORT = 4566
CDK = ("npx", "--yes", "aws-cdk@2.1148.1")
_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "AMD64": "x86_64"}

Tell = Callable[[str], None]


class CommandFailed(Exception):
    """Docker or the CDK has failed, or is not there; it has said why itself."""


async def up_elsewhere(
    target: Literal["localstack", "aws"],
    state: State,
    workers: int,
    context: Sequence[str],
    tell: Tell,
) -> Endpoints:
    """Deploy there; `workers` counts in LocalStack, `context` in an account. Raises as they do."""
    if target == "localstack":
        return await up_in_localstack(state, workers, tell)
    return await up_on_aws(state, context, tell)


async def up_in_localstack(state: State, workers: int, tell: Tell) -> Endpoints:
    """LocalStack with the deployed templates and `workers` containers; writes `endpoints.json`.

    Raises:
        CommandFailed, SynthesisFailed, DeploymentFailed, KeyNotCreated, NotAnswering: in turn.
    """
    state.prepare()
    tell("Starting LocalStack")
    compose(state, "up", "--detach", "--wait", "localstack")
    tell("Synthesising and deploying the stacks")
    assembly = await asyncio.to_thread(synthesise, _context())
    localstack = Emulator(f"http://127.0.0.1:{LOCALSTACK_PORT}", pid=0)
    outputs = await asyncio.to_thread(deploy, assembly, localstack)
    task = await asyncio.to_thread(Task.deployed, outputs, localstack)
    write_worker_env(state, task.environment)
    tell("Starting the workers")
    compose(state, "up", "--detach", "--build", "--scale", f"worker={workers}", "worker")
    endpoints = _of_localstack(outputs, await _keys(outputs, localstack.url), localstack.url)
    tell("Asking the API")
    await readiness.check(endpoints)
    state.write(endpoints)
    return endpoints


def down_in_localstack(state: State) -> None:
    """Stop LocalStack and the workers; nothing that they held is left.

    Raises:
        CommandFailed: Docker could not.
    """
    compose(state, "down", "--volumes", "--remove-orphans")
    state.endpoints_file.unlink(missing_ok=True)
    worker_env(state).unlink(missing_ok=True)


async def up_on_aws(state: State, context: Sequence[str], tell: Tell) -> Endpoints:
    """The stacks in the account of this shell's credentials; writes `endpoints.json`.

    `context`: what `cdk deploy` is told, each `key=value`.

    Raises:
        CommandFailed, KeyNotCreated, NotAnswering: in turn.
    """
    state.prepare()
    tell("Deploying to the account of this shell's credentials")
    written = state.folder / "outputs.json"
    told = [part for choice in context for part in ("--context", choice)]
    _command(*CDK, "deploy", "--all", *told, "--outputs-file", str(written), env=_cdk_environment())
    stacks: dict[str, dict[str, str]] = json.loads(written.read_text())
    outputs = {name: value for stack in stacks.values() for name, value in stack.items()}
    endpoints = _of_account(outputs, await _keys(outputs, None))
    tell("Asking the API")
    await readiness.check(endpoints)
    state.write(endpoints)
    return endpoints


# --- Docker ---------------------------------------------------------------------------------------


def compose(state: State, *arguments: str) -> None:
    """Run Docker Compose on the project's file.

    Raises:
        CommandFailed: it failed, or a variable that the file asks for is missing.
    """
    environ = {**os.environ, "WORKER_ENV": str(worker_env(state))}
    if arguments[0] == "down":
        environ.setdefault("LOCALSTACK_AUTH_TOKEN", "none is needed to stop")
    _command("docker", "compose", "--file", str(COMPOSE_FILE), *arguments, env=environ)


def worker_env(state: State) -> Path:
    """Where Compose finds the worker's variables."""
    return state.folder / "worker.env"


def write_worker_env(state: State, environment: Mapping[str, str]) -> None:
    """The variables of the task definition, one a line."""
    lines = [f"{name}={value}\n" for name, value in environment.items()]
    worker_env(state).write_text("".join(lines))


def _command(*arguments: str, env: Mapping[str, str]) -> None:
    if shutil.which(arguments[0], path=env.get("PATH")) is None:
        raise CommandFailed(f"{arguments[0]} is not installed")
    done = subprocess.run(arguments, cwd=ROOT, env=env, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(arguments[:3])} … ended with {done.returncode}")


# --- where everything is --------------------------------------------------------------------------


def _context() -> dict[str, str]:
    """Functions of this machine's kind: LocalStack runs them here."""
    return {"target": "localstack", "architecture": _ARCHITECTURES[platform.machine()]}


def _cdk_environment() -> dict[str, str]:
    # The environment brings its own node.
    return {**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}


async def _keys(outputs: Mapping[str, str], aws_url: str | None) -> list[str]:
    return [await new_key(owner, outputs, aws_url) for owner in OWNERS]


def _of_localstack(outputs: Mapping[str, str], keys: Sequence[str], url: str) -> Endpoints:
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


def _of_account(outputs: Mapping[str, str], keys: Sequence[str]) -> Endpoints:
    return Endpoints(
        target="aws",
        api_url=outputs["HttpApiUrl"].rstrip("/"),
        ws_url=outputs["WebSocketUrl"],
        api_key=keys[0],
        second_api_key=keys[1],
        region=boto3.Session().region_name or REGION,
        outputs=dict(outputs),
    )
