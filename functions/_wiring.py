"""The composition root of the Lambdas: the only place here that picks concrete classes.

Nothing is read or built at import; each client is made at its first use and kept while the
function stays warm. Each adapter is imported where it is made, boto3 too: a function that starts
cold pays for what it needs and for nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import boto3
    from botocore.config import Config

    from comfyline.adapters.aws.access.keys import DynamoKeyStore
    from comfyline.adapters.aws.access.slots import DynamoOwnerStore
    from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore
    from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
    from comfyline.adapters.aws.files.uploads import S3UploadStore
    from comfyline.adapters.aws.jobs.table import DynamoJobStore
    from comfyline.adapters.aws.ledger import DynamoLedger
    from comfyline.adapters.aws.live.connections import DynamoConnectionStore
    from comfyline.adapters.aws.live.greeter import LambdaGreeter
    from comfyline.adapters.aws.live.sockets import ApiGatewaySockets
    from comfyline.adapters.aws.metrics import EmfMetrics
    from comfyline.adapters.aws.queue import SqsJobQueue
    from comfyline.service.fleet.scale import Scaler
    from comfyline.service.fleet.scaling import Limits
    from comfyline.service.graphs.lock import EngineLock
    from comfyline.service.ledger.count import Meter
    from comfyline.service.live.notify import Notifier
    from comfyline.service.settings import (
        GetMetricsSettings,
        MeasuredSettings,
        PushUpdatesSettings,
        QueueSettings,
        ScaleWorkersSettings,
        Settings,
        SocketSettings,
        SocketSubscribeSettings,
    )

# In an asset, the deployment's own lock is where the sources have the usual one.
_LOCK = Path(__file__).parents[1] / "gpu_worker" / "engine.lock.toml"

S = TypeVar("S", bound="Settings")


def clock() -> datetime:
    """Now, UTC."""
    return datetime.now(UTC)


def settings(model: type[S]) -> S:
    """The settings of this function, read once from its environment."""
    known = _settings.get(model)
    if not isinstance(known, model):
        known = _settings[model] = model.from_environment(os.environ)
    return known


_settings: dict[type[Settings], Settings] = {}


@cache
def _session() -> boto3.Session:
    import boto3

    return boto3.Session()


@cache
def _client(service: str, endpoint: str | None = None) -> Any:
    # A client for a service that is known only by name: boto3's stubs type the literal names.
    make: Callable[..., Any] = _session().client
    return make(service, config=_config(service), endpoint_url=endpoint)


def _config(service: str) -> Config:
    from botocore.config import Config

    # A call that hangs must fail while the caller still waits: 3 tries fit into a function's 15 s.
    config = Config(
        connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3}
    )
    # Without it boto3 signs URLs by the version that newer regions refuse.
    s3 = Config(signature_version="s3v4")
    # A try to reach a client is one call, tried again by the use case, which knows what may be
    # lost.
    sockets = Config(read_timeout=2, retries={"total_max_attempts": 1}, max_pool_connections=64)
    return config.merge({"s3": s3, "apigatewaymanagementapi": sockets}.get(service, Config()))


def jobs(table: str) -> DynamoJobStore:
    """The jobs table."""
    from comfyline.adapters.aws.jobs.table import DynamoJobStore

    return DynamoJobStore(_client("dynamodb"), table)


def connections(table: str) -> DynamoConnectionStore:
    """The connections table."""
    from comfyline.adapters.aws.live.connections import DynamoConnectionStore

    return DynamoConnectionStore(_client("dynamodb"), table)


def keys(table: str) -> DynamoKeyStore:
    """The keys table."""
    from comfyline.adapters.aws.access.keys import DynamoKeyStore

    return DynamoKeyStore(_client("dynamodb"), table)


def owners(table: str) -> DynamoOwnerStore:
    """The owners table."""
    from comfyline.adapters.aws.access.slots import DynamoOwnerStore

    return DynamoOwnerStore(_client("dynamodb"), table)


def ledger(owners_table: str) -> DynamoLedger:
    """What ended jobs come to, beside the owners."""
    from comfyline.adapters.aws.ledger import DynamoLedger

    return DynamoLedger(_client("dynamodb"), owners_table)


def meter(of: GetMetricsSettings) -> Meter:
    """What there is to measure."""
    from comfyline.adapters.aws.fleet.attendance import DynamoAttendance
    from comfyline.service.ledger.count import Meter

    return Meter(
        ledger=ledger(of.owners_table),
        queue=queue(of),
        attendance=DynamoAttendance(_client("dynamodb"), of.jobs_table),
        clock=clock,
    )


def metrics(of: MeasuredSettings) -> EmfMetrics:
    """Who takes what is measured while it happens."""
    from comfyline.adapters.aws.metrics import EmfMetrics

    return EmfMetrics(of.metrics_namespace)


def socket_passes(connections_table: str) -> DynamoSocketPassStore:
    """The one-time tickets."""
    from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore

    return DynamoSocketPassStore(_client("dynamodb"), connections_table)


@cache
def lock() -> EngineLock:
    """What the deployment's engine has, by the lock that its workers are made from."""
    from comfyline.service.graphs.lock import EngineLock

    return EngineLock.parse(_LOCK.read_text())


def queue(urls: QueueSettings) -> SqsJobQueue:
    """The three lanes."""
    from comfyline.adapters.aws.queue import SqsJobQueue
    from comfyline.service.jobs.job import Priority

    by_priority = {
        Priority.HIGH: urls.high_queue_url,
        Priority.NORMAL: urls.normal_queue_url,
        Priority.LOW: urls.low_queue_url,
    }
    return SqsJobQueue(_client("sqs"), by_priority, _trace)


def _trace() -> str | None:
    # Lambda sets it anew for each call, whether or not the call is sampled.
    return os.environ.get("_X_AMZN_TRACE_ID")


def artifacts(bucket: str) -> S3ArtifactStore:
    """The artifact bucket."""
    from comfyline.adapters.aws.files.artifacts import S3ArtifactStore

    return S3ArtifactStore(_client("s3"), bucket)


def uploads(bucket: str) -> S3UploadStore:
    """The callers' files, in the same bucket."""
    from comfyline.adapters.aws.files.uploads import S3UploadStore

    return S3UploadStore(_client("s3"), bucket)


def scaler(of: ScaleWorkersSettings) -> Scaler:
    """What resizes the fleet."""
    from comfyline.adapters.aws.fleet.scaling import DynamoScalingMemory, EcsFleet, SqsBacklog
    from comfyline.service.fleet.scale import Scaler

    urls = (of.high_queue_url, of.normal_queue_url, of.low_queue_url)
    return Scaler(
        backlog=SqsBacklog(_client("sqs"), _client("cloudwatch"), urls),
        fleet=EcsFleet(_client("ecs"), of.cluster, of.service),
        memory=DynamoScalingMemory(_client("dynamodb"), of.scaling_table),
        limits=_limits(of),
        clock=clock,
    )


def _limits(of: ScaleWorkersSettings) -> Limits:
    from comfyline.service.fleet.scaling import Limits, WarmHours

    return Limits(
        min_workers=of.min_workers,
        max_workers=of.max_workers,
        warm_workers=of.warm_workers,
        warm_hours=WarmHours.parse(of.warm_hours) if of.warm_hours else None,
        job_time=timedelta(seconds=of.job_seconds),
        target_wait=timedelta(seconds=of.target_wait_seconds),
        boot_time=timedelta(seconds=of.boot_seconds),
        quiet_time=timedelta(seconds=of.quiet_seconds),
    )


def sockets(api: SocketSettings) -> ApiGatewaySockets:
    """The clients behind the WebSocket API."""
    from comfyline.adapters.aws.live.sockets import ApiGatewaySockets, callback_url

    url = callback_url(api.websocket_api_id, api.websocket_stage, _session().region_name)
    return ApiGatewaySockets(_client("apigatewaymanagementapi", url))


def greeter(function: str) -> LambdaGreeter:
    """The function that speaks to a socket when it is open."""
    from comfyline.adapters.aws.live.greeter import LambdaGreeter

    return LambdaGreeter(_client("lambda"), function)


def notifier(settings: PushUpdatesSettings | SocketSubscribeSettings, posts: Executor) -> Notifier:
    """Tells followers; `posts` runs what goes to many at once."""
    from comfyline.service.live.notify import Notifier

    return Notifier(
        jobs=jobs(settings.jobs_table),
        connections=connections(settings.connections_table),
        artifacts=artifacts(settings.artifacts_bucket),
        sockets=sockets(settings),
        metrics=metrics(settings),
        clock=clock,
        executor=posts,
    )
