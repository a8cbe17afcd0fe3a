"""Builds what the operator's commands use, from AWS credentials and the settings of a stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import boto3
import typer

from comfyline.adapters.aws.access.keys import DynamoKeyStore
from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
from comfyline.adapters.aws.access.sessions import DynamoSessionStore
from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.aws.jobs.quarantine import DynamoQuarantine
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.adapters.aws.live.connections import DynamoConnectionStore
from comfyline.adapters.aws.live.sockets import ApiGatewaySockets, callback_url
from comfyline.adapters.aws.messages import SqsMessages
from comfyline.adapters.aws.queue import SqsDeadLetters, SqsJobQueue
from comfyline.operate.audit.fix import Fixer
from comfyline.operate.edge_secret import EdgeSecret
from comfyline.operate.inventory import Inventory
from comfyline.operate.set_aside import Quarantine
from comfyline.operate.stage import StageSettings
from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.settle import Settlement, Step
from comfyline.service.jobs.sweep import Sweeper
from comfyline.service.settings import (
    AuditSettings,
    ConnectionsTable,
    JobsTable,
    KeysTable,
    QuarantineSettings,
    QueueSettings,
    RedriveSettings,
    Settings,
    WrongEnvironment,
)

S = TypeVar("S", bound=Settings)


def now() -> datetime:
    """The time. Tests replace this function."""
    return datetime.now(UTC)


def key_store() -> DynamoKeyStore:
    """The store of keys and switches that KEYS_TABLE names."""
    table = _settings(KeysTable).keys_table
    return DynamoKeyStore(boto3.client("dynamodb"), table)


def session_store() -> DynamoSessionStore:
    """The store of sessions that CONNECTIONS_TABLE names."""
    table = _settings(ConnectionsTable).connections_table
    return DynamoSessionStore(boto3.client("dynamodb"), table)


def job_store() -> DynamoJobStore:
    """The store of jobs that JOBS_TABLE names."""
    table = _settings(JobsTable).jobs_table
    return DynamoJobStore(boto3.client("dynamodb"), table)


def job_queue() -> SqsJobQueue:
    """The lanes that HIGH_QUEUE_URL, NORMAL_QUEUE_URL and LOW_QUEUE_URL name."""
    lanes = _settings(QueueSettings).lanes
    return SqsJobQueue(boto3.client("sqs"), lanes)


def dead_letters() -> SqsDeadLetters:
    """The queue that DEAD_LETTER_QUEUE_URL names."""
    url = _settings(RedriveSettings).dead_letter_queue_url
    return SqsDeadLetters(boto3.client("sqs"), url)


def inventory() -> Inventory:
    """Reads the tables, queues and bucket that the variables of AuditSettings name."""
    settings = _settings(AuditSettings)
    dynamodb = boto3.client("dynamodb")
    endpoint = callback_url(
        settings.websocket_api_id, settings.websocket_stage, dynamodb.meta.region_name
    )
    return Inventory(
        dynamodb=dynamodb,
        s3=boto3.client("s3"),
        sqs=boto3.client("sqs"),
        sockets=ApiGatewaySockets(boto3.client("apigatewaymanagementapi", endpoint_url=endpoint)),
        settings=settings,
    )


def quarantine() -> Quarantine:
    """What the consumers of the deployment have set aside."""
    settings = _settings(QuarantineSettings)
    sqs = boto3.client("sqs")
    return Quarantine(
        rows=DynamoQuarantine(boto3.client("dynamodb"), settings.jobs_table),
        queues={
            "parked": SqsMessages(sqs, settings.parking_queue_url),
            "dead letter": SqsMessages(sqs, settings.dead_letter_queue_url),
        },
    )


def fixer() -> Fixer:
    """Mends what an audit of the same deployment has found."""
    settings = _settings(AuditSettings)
    dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
    jobs, ledger = job_store(), DynamoLedger(dynamodb, settings.owners_table)
    owners = DynamoOwnerStore(dynamodb, settings.owners_table)
    admission = Admission(owners=owners, jobs=jobs, clock=now)
    steps = (Step("free_slot", admission.free_slots), Step("count", ledger.count))
    return Fixer(
        jobs=jobs,
        sweeper=Sweeper(
            store=jobs,
            queue=job_queue(),
            artifacts=S3ArtifactStore(s3, settings.artifacts_bucket),
            settlement=Settlement(steps=steps, store=jobs, clock=now),
            clock=now,
            executor=ThreadPoolExecutor(),
        ),
        admission=admission,
        ledger=ledger,
        connections=DynamoConnectionStore(dynamodb, settings.connections_table),
        is_open=inventory().is_open,
        semaphore=lambda name: DynamoSemaphore(dynamodb, settings.owners_table, name),
        dynamodb=dynamodb,
        jobs_table=settings.jobs_table,
        s3=s3,
        bucket=settings.artifacts_bucket,
        clock=now,
    )


def edge_secret() -> EdgeSecret:
    """The secret of the stage's edge. The stage may not be deployed yet."""
    if _stage is None:
        typer.echo("Wrong settings: give --stage, such as `--stage prod`.", err=True)
        raise typer.Exit(2)
    return EdgeSecret(_stage, boto3.client("ssm"), boto3.client("cloudformation"))


def use_stage(stage: str | None, command: typer.Context) -> None:
    """Until the command ends, read settings from the outputs of this stage's stacks.

    None: from environment variables.
    """
    global _stage
    _stage = stage
    command.call_on_close(_forget_stage)


def _forget_stage() -> None:
    global _stage
    _stage = None


_stage: str | None = None


def _environment() -> Mapping[str, str]:
    if _stage is None:
        return os.environ
    return StageSettings(_stage, boto3.client("cloudformation"))


def _settings(group: type[S]) -> S:
    try:
        return group.from_environment(_environment())
    except WrongEnvironment as error:
        if _stage is not None:
            advice = f"The stacks of stage {_stage} have no such output: deploy this release first."
        else:
            advice = "Give --stage, or set them to the outputs of the deployment's stacks."
        typer.echo(f"Wrong settings: {error}. {advice}", err=True)
        raise typer.Exit(2) from error
