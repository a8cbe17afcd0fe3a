"""The AWS adapters of a worker: the only module here that picks concrete classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import boto3
from botocore.config import Config

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.files.addressing import s3_config
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore, uploads_config
from comfyline.adapters.aws.files.models import S3ModelStore, models_config
from comfyline.adapters.aws.files.uploads import S3UploadStore
from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore
from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.metrics import BufferedEmfMetrics
from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.service.metrics import Metric
from comfyline.service.settings import WorkerSettings
from gpu_worker.aws_clock import AwsClock
from gpu_worker.collector import AT_ONCE
from gpu_worker.models.folder import CONNECTIONS

# A long poll lasts 5 s. Every other call is answered in milliseconds, or is tried again.
_CONFIG = Config(
    connect_timeout=2,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=20,
)


class Aws:
    """The adapters, one attribute each. Each is made when it is first used.

    `clock` follows the time that AWS's answers show.
    """

    def __init__(
        self, environ: Mapping[str, str], settings: WorkerSettings, clock: AwsClock
    ) -> None:
        self._environ, self._settings, self._clock = environ, settings, clock

    @cached_property
    def metrics(self) -> BufferedEmfMetrics:
        """Metrics as lines of the log; an empty namespace switches them off."""
        return BufferedEmfMetrics(self._settings.metrics_namespace)

    @cached_property
    def jobs(self) -> DynamoJobStore:
        """The jobs table."""
        return DynamoJobStore(self._client("dynamodb"), self._settings.jobs_table)

    @cached_property
    def queue(self) -> SqsJobQueue:
        """The three lanes."""
        return SqsJobQueue(
            self._client("sqs"),
            self._settings.lanes,
            on_unreadable=partial(self.metrics.record, Metric.ITEMS_UNREADABLE),
        )

    @cached_property
    def presence(self) -> DynamoPresenceStore:
        """The reports of workers that they are up."""
        return DynamoPresenceStore(self._client("dynamodb"), self._settings.jobs_table)

    @cached_property
    def engine_nodes(self) -> DynamoEngineNodesStore:
        """The node classes that engines have published."""
        return DynamoEngineNodesStore(self._client("dynamodb"), self._settings.jobs_table)

    @cached_property
    def owners(self) -> DynamoOwnerStore:
        """The owners' slots."""
        return DynamoOwnerStore(self._client("dynamodb"), self._settings.owners_table)

    @cached_property
    def artifacts(self) -> S3ArtifactStore:
        """The files of jobs."""
        client = self._client("s3", uploads_config(AT_ONCE))
        return S3ArtifactStore(client, self._settings.artifacts_bucket)

    @cached_property
    def uploads(self) -> S3UploadStore:
        """The files that callers have uploaded."""
        return S3UploadStore(self._client("s3"), self._settings.artifacts_bucket)

    @cached_property
    def models(self) -> S3ModelStore | None:
        """The models of the lock; None if this worker has no bucket of models."""
        if (bucket := self._settings.models_bucket) is None:
            return None
        return S3ModelStore(self._client("s3", models_config(CONNECTIONS)), bucket)

    @cached_property
    def _session(self) -> Any:
        return boto3.Session()

    def _client(self, service: str, special: Config | None = None) -> Any:
        config = _CONFIG.merge(s3_config(environ=self._environ)) if service == "s3" else _CONFIG
        config = config if special is None else config.merge(special)
        client = self._session.client(service, config=config)
        self._clock.follow(client.meta.events)
        return client
