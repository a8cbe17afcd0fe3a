"""The worker process: the only place here that reads the environment and picks concrete classes."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from botocore.config import Config

from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.aws.files.models import S3ModelStore
from comfyline.adapters.aws.files.uploads import S3UploadStore
from comfyline.adapters.aws.fleet.attendance import DynamoAttendance
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.metrics import EmfMetrics
from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.contract.ids import random_worker_id
from comfyline.service.jobs.claim import Terms
from comfyline.service.jobs.finish import Finisher
from comfyline.service.metrics import Metrics
from comfyline.service.settings import WorkerSettings
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import EngineCrashLoop, ForeignEngine, Keeper
from gpu_worker.comfy.watchdog import Limits
from gpu_worker.ecs import spot_notices, task_protection
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.log_context import AboutTheJob
from gpu_worker.measures import Both, PrometheusMetrics
from gpu_worker.models import ModelFolder, ModelsUnusable
from gpu_worker.notice import drain_on_notice
from gpu_worker.outputs import Collector
from gpu_worker.prepare import Preparation, WarmUpFailed
from gpu_worker.presence import present
from gpu_worker.protection import Protection
from gpu_worker.run import Toolbox
from gpu_worker.supervisor import EngineProcess, Policy
from gpu_worker.worker import DrainOverran, Worker
from gpu_worker.workspace import Workspace

# A long poll lasts 5 s; everything else answers in milliseconds or is tried again.
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=20,
)


# Three long polls, four transfers, and the writes of three jobs, each of which may have to wait.
_THREADS = 32


def main() -> None:
    """Work until SIGTERM or SIGINT, then give back what runs and exit 0; 1 if that failed."""
    settings = WorkerSettings.from_environment(os.environ)
    worker_id = random_worker_id()
    logger = Logger(service="gpu_worker", worker_id=worker_id)
    logger.registered_handler.addFilter(AboutTheJob())
    copy_config_to_registered_loggers(source_logger=logger, include={"comfyline", "gpu_worker"})
    terms = Terms(worker_id=worker_id, lease=timedelta(seconds=settings.lease_seconds))
    try:
        asyncio.run(_work(settings, terms, logger))
    except (EngineCrashLoop, DrainOverran, ModelsUnusable, WarmUpFailed):
        logger.critical("worker failed", exc_info=True, extra={"action": "worker_failed"})
        sys.stdout.flush()
        os._exit(1)  # a thread that hangs must not keep a useless worker alive


async def _work(settings: WorkerSettings, terms: Terms, logger: Logger) -> None:
    drain, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain.set)
    logger.info("worker started", extra={"action": "worker_started"})
    limits = Limits(silent=settings.engine_silent_seconds)
    scraped = PrometheusMetrics()
    metrics = Both(EmfMetrics(settings.metrics_namespace), scraped)
    async with (
        _keeper(settings, metrics) as keeper,
        ComfyEngine.connected(settings.comfyui_url, keeper, limits) as engine,
        _fleet(settings, drain) as protection,
        present(_attendance(settings), terms.worker_id, lambda: engine.running, _now),
        _served(settings, scraped, engine),
    ):
        preparation = _preparation(settings)
        if preparation is None or await preparation.done(engine, drain):
            await _assembled(settings, terms, engine, protection, metrics).work(drain)
    logger.info("worker stopped", extra={"action": "worker_stopped"})


def _preparation(settings: WorkerSettings) -> Preparation | None:
    """None where no lock says what this machine has."""
    if settings.engine_lock is None:
        return None
    folder = None
    if settings.models_bucket is not None and settings.models_directory is not None:
        client: Callable[..., Any] = boto3.Session().client
        store = S3ModelStore(client("s3", config=_CONFIG), settings.models_bucket)
        folder = ModelFolder(store, Path(settings.models_directory))
    return Preparation.of_lock(Path(settings.engine_lock), folder)


def _attendance(settings: WorkerSettings) -> DynamoAttendance:
    client: Callable[..., Any] = boto3.Session().client
    return DynamoAttendance(client("dynamodb", config=_CONFIG), settings.jobs_table)


@asynccontextmanager
async def _served(
    settings: WorkerSettings, scraped: PrometheusMetrics, engine: ComfyEngine
) -> AsyncIterator[None]:
    scraped.watch(engine)
    if not settings.metrics_port:
        yield
        return
    with scraped.served(settings.metrics_host, settings.metrics_port):
        yield


@asynccontextmanager
async def _keeper(settings: WorkerSettings, metrics: Metrics) -> AsyncIterator[Keeper]:
    """Ours where the settings name a command; its process ends with the block."""
    if settings.comfyui_command is None:
        yield ForeignEngine()
        return
    memory_mib = settings.engine_max_memory_mib
    engine = EngineProcess(
        shlex.split(settings.comfyui_command),
        Path(settings.comfyui_directory or "."),
        environ=os.environ,
        metrics=metrics,
        user=settings.comfyui_user,
        policy=Policy(
            max_prompts=settings.engine_max_prompts,
            max_memory_bytes=None if memory_mib is None else memory_mib * 2**20,
        ),
    )
    async with engine.kept():
        yield engine


@asynccontextmanager
async def _fleet(
    settings: WorkerSettings, drain: asyncio.Event
) -> AsyncIterator[Protection | None]:
    """Its protection, and its notices, while the block lasts; None where there is no fleet."""
    if settings.ecs_agent_uri is None:
        yield None
        return
    async with task_protection(settings.ecs_agent_uri) as protection, spot_notices() as notices:
        listening = asyncio.create_task(drain_on_notice(notices, drain))
        try:
            yield protection
        finally:
            listening.cancel()


def _assembled(
    settings: WorkerSettings,
    terms: Terms,
    engine: ComfyEngine,
    protection: Protection | None,
    metrics: Metrics,
) -> Worker:
    client: Callable[..., Any] = boto3.Session().client
    store = DynamoJobStore(client("dynamodb", config=_CONFIG), settings.jobs_table)
    s3 = client("s3", config=_CONFIG)
    artifacts = S3ArtifactStore(s3, settings.artifacts_bucket)
    queue = SqsJobQueue(client("sqs", config=_CONFIG), settings.lanes)
    heartbeat = Heartbeat(
        store=store,
        queue=queue,
        clock=_now,
        lease=terms.lease,
        interval=timedelta(seconds=settings.heartbeat_seconds),
    )
    tools = Toolbox(
        store=store,
        clock=_now,
        engine=engine,
        finisher=Finisher(store=store, queue=queue, clock=_now),
        heartbeat=heartbeat,
        collector=Collector(http=engine.http, artifacts=artifacts),
        workspace=Workspace(_base(settings)),
        inputs=Inputs(engine.http, S3UploadStore(s3, settings.artifacts_bucket)),
        metrics=metrics,
    )
    return Worker(queue=queue, terms=terms, tools=tools, protection=protection)


def _base(settings: WorkerSettings) -> Path | None:
    return None if settings.comfyui_directory is None else Path(settings.comfyui_directory)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
