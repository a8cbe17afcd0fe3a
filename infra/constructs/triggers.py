"""Streams, queues and schedules that call a function, made from its row."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_lambda_event_sources import DynamoEventSource, SqsEventSource
from aws_cdk.aws_scheduler_targets import LambdaInvoke
from constructs import Construct

from infra.declarations import AsyncCalls, EveryMinute, Function, JobsStream, Queue
from infra.grants import Resource

Queues = Mapping[Resource, sqs.IQueue]


def add_triggers(
    scope: Construct,
    row: Function,
    function: lambda_.Function,
    *,
    jobs: ddb.TableV2,
    queues: Queues,
    has_scaler: bool,
) -> None:
    """Connect the function to the triggers of its row. `jobs` is the table with the stream."""
    for trigger in row.triggers:
        match trigger:
            case JobsStream():
                function.add_event_source(_stream(jobs, trigger, has_scaler=has_scaler))
            case Queue(queue, batch_size):
                source = SqsEventSource(
                    queues[queue], batch_size=batch_size, report_batch_item_failures=True
                )
                function.add_event_source(source)
            case AsyncCalls(max_age, retries):
                function.configure_async_invoke(
                    max_event_age=Duration.seconds(max_age), retry_attempts=retries
                )
            case EveryMinute():
                _schedule(scope, row, function)


def _stream(jobs: ddb.TableV2, stream: JobsStream, *, has_scaler: bool) -> DynamoEventSource:
    patterns = (*stream.filters, *(stream.filters_for_scaler if has_scaler else ()))
    window, max_age = stream.window_seconds, stream.max_age_seconds
    return DynamoEventSource(
        jobs,
        # LATEST could miss changes that are made while AWS creates the mapping.
        starting_position=lambda_.StartingPosition.TRIM_HORIZON,
        batch_size=stream.batch_size,
        max_batching_window=Duration.seconds(window) if window else None,
        parallelization_factor=stream.parallel_batches,
        report_batch_item_failures=stream.reports_failures,
        bisect_batch_on_error=stream.reports_failures,
        retry_attempts=stream.retries,
        max_record_age=Duration.seconds(max_age) if max_age else None,
        filters=[lambda_.FilterCriteria.filter(pattern) for pattern in patterns],
    )


def _schedule(scope: Construct, row: Function, function: lambda_.Function) -> None:
    every = Duration.minutes(1)
    scheduler.Schedule(
        scope,
        f"{row.name}EveryMinute",
        schedule=scheduler.ScheduleExpression.rate(every),
        # The next minute is the retry.
        target=LambdaInvoke(function, retry_attempts=0, max_event_age=every),
    )
