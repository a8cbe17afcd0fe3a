"""The AWS emulator: a child process on the loopback interface that enforces IAM policies."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from localcloud import fork_launcher, fork_server
from localcloud.emulator_process import LAUNCHER
from localcloud.processes import Program, start, stop
from localcloud.readiness import answers
from localcloud.state import CloudFailed, State

REGION = "us-east-1"
ACCOUNT = "000000000000"
ADMINISTRATOR = ("test", "test")  # the emulator's root credentials
READY_SECONDS = 60.0  # the start takes one second, and longer on a busy machine


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


# By default, boto3 signs URLs of S3 with version 2 in the oldest regions.
_SIGNATURES = {"s3": "s3v4"}


@asynccontextmanager
async def emulator(state: State, port: int) -> AsyncIterator[Emulator]:
    """Start an empty emulator on that port, and stop it at the end of the block.

    Raises:
        CloudFailed: the emulator did not start.
    """
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        variables = dict[str, str]()
        if fork_server.IS_SUPPORTED:
            stack.push_async_callback(stop, await start_fork_server(state))
            variables = {LAUNCHER: str(launcher(state))}
        process = await start(_program(state, port, variables), state)
        stack.push_async_callback(stop, process)
        await _ready(url, process, state)
        yield Emulator(url, process.pid)


async def start_fork_server(state: State) -> asyncio.subprocess.Process:
    """Start the server that forks the functions' processes.

    Until it is ready, the launcher starts processes in the usual way.
    """
    arguments = (sys.executable, "-m", "localcloud.fork_server", str(state.temporary))
    return await start(
        Program(name="functions", arguments=arguments, environment=inherited()), state
    )


def launcher(state: State) -> Path:
    """A command that starts a function's process: it takes a script, as an interpreter does."""
    path = state.temporary / "launcher"
    # -I and -S skip what an interpreter loads at its start and the launcher does not use.
    command = (sys.executable, "-I", "-S", fork_launcher.__file__, str(state.temporary))
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o700)
    return path


def _program(state: State, port: int, variables: Mapping[str, str]) -> Program:
    own = {
        "AUTH": "true",  # enforces the policies of the roles of functions and worker
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(state.temporary),
        # These listeners are not needed, and would be open to the network.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # The processes of the functions must never use this user's real account.
        "AWS_ACCESS_KEY_ID": ADMINISTRATOR[0],
        "AWS_SECRET_ACCESS_KEY": ADMINISTRATOR[1],
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Program(
        name="emulator",
        arguments=(sys.executable, "-m", "localcloud.emulator_process"),
        environment={**inherited(), **own, **variables},
    )


def inherited() -> dict[str, str]:
    """The environment variables that a process of the cloud gets from the user's environment.

    There are no settings of AWS, proxies or Python paths among them.
    """
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER")
    return {name: os.environ[name] for name in names if name in os.environ}


async def _ready(url: str, process: asyncio.subprocess.Process, state: State) -> None:
    give_up_at = asyncio.get_running_loop().time() + READY_SECONDS
    log = state.log("emulator")
    async with httpx.AsyncClient(trust_env=False) as http:
        while not await answers(http, f"{url}/_ministack/health"):
            if process.returncode is not None:
                raise CloudFailed(f"The AWS emulator ended while it started. See {log}")
            if asyncio.get_running_loop().time() > give_up_at:
                limit = f"{READY_SECONDS:.0f} s"
                raise CloudFailed(f"The AWS emulator did not answer within {limit}. See {log}")
            await asyncio.sleep(0.02)
