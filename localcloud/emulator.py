"""The AWS emulator: a child process on the loopback interface that enforces IAM policies."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from botocore.config import Config

from localcloud.processes import Program, running
from localcloud.state import State

REGION = "us-east-1"
ACCOUNT = "000000000000"
ADMINISTRATOR = ("test", "test")  # the emulator's root credentials
READY_SECONDS = 60.0  # it takes one; a busy machine takes more
# Each concurrent call of a function is a process of about 50 MB; more than this starves a laptop.
FUNCTIONS_AT_ONCE = 24


class EmulatorFailed(Exception):
    """It did not come up; its log says why."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator."""

    url: str
    pid: int

    def client(self, service: str) -> Any:
        """A client of one service, as the account's administrator."""
        make: Callable[..., Any] = boto3.Session(*ADMINISTRATOR, region_name=REGION).client
        config = Config(retries={"mode": "standard"}, signature_version=_SIGNATURES.get(service))
        return make(service, endpoint_url=self.url, config=config)


# Left alone, boto3 signs URLs of S3 by version 2 in the oldest regions.
_SIGNATURES = {"s3": "s3v4"}


@asynccontextmanager
async def emulator(state: State, port: int) -> AsyncIterator[Emulator]:
    """An empty emulator on that port, until the block ends.

    Raises:
        EmulatorFailed: it did not come up.
    """
    url = f"http://127.0.0.1:{port}"
    async with running(_program(state, port), state) as process:
        await _ready(url, process, state)
        yield Emulator(url, process.pid)


def _program(state: State, port: int) -> Program:
    own = {
        "AUTH": "true",  # every function and the worker run under their own role, and it counts
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_WORKER_THREADS": str(FUNCTIONS_AT_ONCE),
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(state.folder / "tmp"),
        # Listeners that nobody needs and that would be open to the network.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # What it starts for the functions must not be mistaken for this user's real account.
        "AWS_ACCESS_KEY_ID": ADMINISTRATOR[0],
        "AWS_SECRET_ACCESS_KEY": ADMINISTRATOR[1],
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Program(
        name="emulator",
        arguments=(sys.executable, "-m", "ministack"),
        environment={**inherited(), **own},
    )


def inherited() -> dict[str, str]:
    """What a process of the cloud takes over from the user's environment: nothing of AWS, no
    proxies, no Python paths.
    """
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER")
    return {name: os.environ[name] for name in names if name in os.environ}


async def _ready(url: str, process: asyncio.subprocess.Process, state: State) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(READY_SECONDS):
        while True:
            if process.returncode is not None:
                raise EmulatorFailed(f"the emulator has stopped, see {state.log('emulator')}")
            try:
                answer = await http.get(f"{url}/_ministack/health")
                if answer.is_success:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)
