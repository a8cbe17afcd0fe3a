"""A local cloud: the emulator with the deployed templates, ComfyUI, workers, and endpoints."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from localcloud import comfyui, readiness
from localcloud.deployment import deploy
from localcloud.emulator import ADMINISTRATOR, REGION, Emulator, emulator, inherited
from localcloud.processes import Restarted
from localcloud.state import ROOT, CloudFailed, Endpoints, Pids, State, free_port
from localcloud.synthesis import synthesise
from localcloud.task import Task, role_credentials

DEPLOYMENT = "deployments/local.toml"
OWNERS = ("local-developer", "another-developer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a local cloud."""

    port: int = 0  # of the emulator; 0: any free port
    workers: int = 1
    comfyui_url: str | None = None  # a real ComfyUI that all workers share; None: simulators
    comfyui_directory: Path | None = None  # the real ComfyUI's folders, for a single worker


Report = Callable[[str], None]  # gets one line about each step when it begins


@asynccontextmanager
async def local_cloud(state: State, options: Options, report: Report) -> AsyncIterator[Endpoints]:
    """Start everything and wait until it answers; stop it at the end of the block.

    `endpoints.json` exists during the block.

    Raises:
        CloudFailed: a step failed.
    """
    state.prepare()
    async with AsyncExitStack() as stack:
        report("Synthesising the templates and starting the AWS emulator")
        synthesising = asyncio.create_task(asyncio.to_thread(synthesise, DEPLOYMENT))
        aws = await stack.enter_async_context(emulator(state, options.port or free_port()))
        cloud = _Cloud(state, options, aws, stack)
        await cloud.start(await synthesising, report)
        report("Checking that the API answers")
        await readiness.check(cloud.endpoints())
        await readiness.warm_up(cloud.endpoints(), aws.client("lambda"))
        try:
            yield cloud.publish()
        finally:
            state.endpoints_file.unlink(missing_ok=True)


class _Cloud:
    def __init__(
        self, state: State, options: Options, aws: Emulator, stack: AsyncExitStack
    ) -> None:
        self._state, self._options, self._aws, self._stack = state, options, aws, stack
        self._outputs: dict[str, str] = {}
        self._keys: list[str] = []
        self._engines: list[Restarted] = []
        self._engine_urls: list[str] = []
        self._workers: list[Restarted] = []

    async def start(self, assembly: Path, report: Report) -> None:
        report("Deploying the stacks")
        self._outputs = await asyncio.to_thread(deploy, assembly, self._aws)
        self._keys = [await new_key(owner, self._outputs, self._aws.url) for owner in OWNERS]
        report("Starting ComfyUI and the workers")
        await self._start_engines()
        await self._start_workers()

    async def _start_engines(self) -> None:
        self._stack.push_async_callback(_stop_all, self._engines)
        for number in range(self._options.workers):
            url = (self._options.comfyui_url or "").rstrip("/")
            if not url:
                port = free_port()
                url = f"http://127.0.0.1:{port}"
                program = comfyui.simulator(number, port, self._state)
                engine = Restarted(program, self._state, self._changed)
                self._engines.append(engine)
                await engine.start()
            self._engine_urls.append(url)
        await asyncio.gather(*map(comfyui.ready, self._engine_urls))

    async def _start_workers(self) -> None:
        task = await asyncio.to_thread(Task.deployed, self._outputs, self._aws)
        credentials = await self._stack.enter_async_context(
            role_credentials(task.role_arn, self._aws)
        )
        self._stack.push_async_callback(_stop_all, self._workers)
        for number, url in enumerate(self._engine_urls):
            program = task.program(
                number,
                emulator=self._aws,
                credentials=credentials,
                comfyui=url,
                directory=directory_of(number, self._options, self._state),
            )
            worker = Restarted(program, self._state, self._changed)
            self._workers.append(worker)
            await worker.start()

    # --- the endpoints -----------------------------------------------------------------------

    def publish(self) -> Endpoints:
        endpoints = self.endpoints()
        self._state.write(endpoints)
        return endpoints

    def _changed(self) -> None:
        if self._state.endpoints_file.exists():  # a process was started again: its pid has changed
            self.publish()

    def endpoints(self) -> Endpoints:
        api, sockets = self._outputs["HttpApiId"], self._outputs["WebSocketApiId"]
        stage = self._outputs["WebSocketStage"]
        base = f"{self._aws.url}/_aws/execute-api"
        return Endpoints(
            api_url=f"{base}/{api}",
            ws_url=f"{base}/{sockets}/{stage}".replace("http", "ws", 1),
            api_key=self._keys[0],
            second_api_key=self._keys[1],
            aws_endpoint_url=self._aws.url,
            aws_access_key_id=ADMINISTRATOR[0],
            aws_secret_access_key=ADMINISTRATOR[1],
            region=REGION,
            comfyui_url=self._engine_urls[0],
            comfyui_urls=self._engine_urls,
            outputs={k: v for k, v in self._outputs.items() if not k.startswith("Exports")},
            pids=Pids(
                supervisor=os.getpid(),
                emulator=self._aws.pid,
                comfyui=[e.pid for e in self._engines if e.pid is not None],
                workers=[w.pid for w in self._workers if w.pid is not None],
            ),
        )


def directory_of(number: int, options: Options, state: State) -> Path | None:
    """The folder of a worker's ComfyUI; None if it is elsewhere or serves several workers."""
    if not options.comfyui_url:
        return comfyui.folder_of(number, state)
    return options.comfyui_directory if options.workers == 1 else None


async def _stop_all(processes: list[Restarted]) -> None:
    """Stop all at once, because each worker needs seconds to end its polls and its job."""
    await asyncio.gather(*(process.stop() for process in processes))


async def new_key(owner: str, outputs: Mapping[str, str], aws_url: str | None) -> str:
    """Create an API key with the operator's command.

    `aws_url` is the emulator's; None means AWS with the credentials of this shell.

    Raises:
        CloudFailed: the command failed; the message is its output.
    """
    making = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "comfyline.operate.keys", "create"),
        *("--owner", owner, "--scope", "jobs", "--scope", "admin", "--json"),
        cwd=ROOT,
        env=_administrator(aws_url) | {"KEYS_TABLE": outputs["KeysTable"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await making.communicate()
    if making.returncode != 0:
        raise CloudFailed(f"The API key of {owner} could not be created:\n{errors.decode()}")
    return str(json.loads(output)["key"])


def administration(endpoints: Endpoints) -> dict[str, str]:
    """The environment variables of the operator's commands, as an operator would set them."""
    outputs = endpoints.outputs
    names = {name: outputs[output] for name, output in _SETTINGS.items() if output in outputs}
    return _administrator(endpoints.aws_endpoint_url or None) | names


# The settings of the operator's commands, and the output of the stacks that has each value.
_SETTINGS = {
    "ARTIFACTS_BUCKET": "ArtifactsBucket",
    "CONNECTIONS_TABLE": "ConnectionsTable",
    "DEAD_LETTER_QUEUE_URL": "DeadLetterQueueUrl",
    "HIGH_QUEUE_URL": "HighQueueUrl",
    "JOBS_TABLE": "JobsTable",
    "KEYS_TABLE": "KeysTable",
    "LOW_QUEUE_URL": "LowQueueUrl",
    "NORMAL_QUEUE_URL": "NormalQueueUrl",
    "OWNERS_TABLE": "OwnersTable",
    "PARKING_QUEUE_URL": "ParkingQueueUrl",
    "WEBSOCKET_API_ID": "WebSocketApiId",
    "WEBSOCKET_STAGE": "WebSocketStage",
}


def _administrator(aws_url: str | None) -> dict[str, str]:
    if aws_url is None:
        return dict(os.environ)
    return {
        **inherited(),
        "AWS_ACCESS_KEY_ID": ADMINISTRATOR[0],
        "AWS_SECRET_ACCESS_KEY": ADMINISTRATOR[1],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": aws_url,
    }
