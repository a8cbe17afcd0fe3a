"""The worker process: the only place here that reads the environment and picks concrete classes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from botocore.config import Config

from comfyline.aws.artifacts import S3ArtifactStore
from comfyline.aws.job_queues import SqsJobQueue
from comfyline.aws.jobs_table import DynamoJobStore
from comfyline.domain.ids import random_worker_id
from comfyline.domain.job import Priority
from comfyline.settings import WorkerSettings
from comfyline.usecases.claim import Terms
from comfyline.usecases.finish import Finisher
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.outputs import Collector
from gpu_worker.run import Toolbox
from gpu_worker.worker import Worker

# A long poll lasts 5 s; everything else answers in milliseconds or is tried again.
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=20,
)


def main() -> None:
    """Work until SIGTERM or SIGINT, then give back what runs and exit 0."""
    settings = WorkerSettings.from_environment(os.environ)
    worker_id = random_worker_id()
    logger = Logger(service="gpu_worker", worker_id=worker_id)
    copy_config_to_registered_loggers(source_logger=logger, include={"comfyline", "gpu_worker"})
    asyncio.run(_work(settings, Terms(worker_id=worker_id, lease=_lease(settings)), logger))


async def _work(settings: WorkerSettings, terms: Terms, logger: Logger) -> None:
    drain = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, drain.set)
    logger.info("worker started", extra={"action": "worker_started"})
    async with ComfyEngine.connected(settings.comfyui_url) as engine:
        await _assembled(settings, terms, engine).work(drain)
    logger.info("worker stopped", extra={"action": "worker_stopped"})


def _assembled(settings: WorkerSettings, terms: Terms, engine: ComfyEngine) -> Worker:
    client: Callable[..., Any] = boto3.Session().client
    store = DynamoJobStore(client("dynamodb", config=_CONFIG), settings.jobs_table)
    artifacts = S3ArtifactStore(client("s3", config=_CONFIG), settings.artifacts_bucket)
    queue = SqsJobQueue(
        client("sqs", config=_CONFIG),
        {
            Priority.HIGH: settings.high_queue_url,
            Priority.NORMAL: settings.normal_queue_url,
            Priority.LOW: settings.low_queue_url,
        },
    )
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
    )
    return Worker(queue=queue, terms=terms, tools=tools)


def _lease(settings: WorkerSettings) -> timedelta:
    return timedelta(seconds=settings.lease_seconds)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
