"""The worker's task, run as ECS would run it: with the environment variables of the task definition
and the credentials of the task role.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from localcloud.emulator import Emulator, inherited
from localcloud.processes import Program

COMMAND = (sys.executable, "-m", "gpu_worker")  # as in the image


@dataclass(frozen=True, slots=True)
class Task:
    """The worker's container, as the deployed task definition describes it."""

    environment: Mapping[str, str]
    role_arn: str

    @classmethod
    def deployed(cls, outputs: Mapping[str, str], emulator: Emulator) -> Task:
        """The task definition of the deployment."""
        answer = emulator.client("ecs").describe_task_definition(
            taskDefinition=outputs["WorkerTaskDefinition"]
        )
        definition = answer["taskDefinition"]
        (container,) = definition["containerDefinitions"]
        environment = {e["name"]: e["value"] for e in container["environment"]}
        return cls(environment, definition["taskRoleArn"])

    def program(
        self,
        number: int,
        *,
        emulator: Emulator,
        credentials: str,
        comfyui: str,
        directory: Path | None,
    ) -> Program:
        """The program of one worker, which uses the ComfyUI at `comfyui`.

        `directory`: the folder above that ComfyUI's `input`, `output` and `temp`, which the worker
        then owns; None: it gets files over HTTP only.
        """
        shared = {} if directory is None else {"COMFYUI_DIRECTORY": str(directory)}
        return Program(
            name=f"worker-{number}",
            arguments=COMMAND,
            environment={
                **inherited(),
                **self.environment,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials,
                "AWS_ENDPOINT_URL": emulator.url,
                "COMFYUI_URL": comfyui,
                **shared,
                "PYTHONUNBUFFERED": "1",
            },
        )


@asynccontextmanager
async def role_credentials(role_arn: str, emulator: Emulator) -> AsyncIterator[str]:
    """A URL that answers with new credentials of the role, like the ECS agent's.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    # The path is a secret, because every user of this machine can reach the port.
    path = f"/{secrets.token_urlsafe(16)}"

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(_assume, role_arn, emulator))

    app = web.Application()
    app.router.add_get(path, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
    finally:
        await runner.cleanup()


def _assume(role_arn: str, emulator: Emulator) -> dict[str, Any]:
    answer = emulator.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="worker")
    given = answer["Credentials"]
    return {
        "RoleArn": role_arn,
        "AccessKeyId": given["AccessKeyId"],
        "SecretAccessKey": given["SecretAccessKey"],
        "Token": given["SessionToken"],
        "Expiration": given["Expiration"].isoformat(),
    }
