"""Streams, queues and schedules that call a function, made from its row."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from aws_cdk.aws_events_targets import LambdaFunction
from aws_cdk.aws_lambda_event_sources import DynamoEventSource, SqsEventSource
from aws_cdk.aws_scheduler_targets import LambdaInvoke
from constructs import Construct

from infra.concurrency import parallel_batches
from infra.declarations import AsyncCalls, EveryMinute, Function, JobsStream, Queue, TaskCrashes
from infra.deployment import Deployment
from infra.grants import Resource

MAX_EVENT_AGE = Duration.seconds(60)  # the least that Lambda allows

# The first words of ECS's reasons: an image cannot be pulled, a container does not start.
_NOT_STARTED = ("Cannot", "ResourceInitializationError", "ContainerRuntime")

Queues = Mapping[Resource, sqs.IQueue]


def add_triggers(
    scope: Construct,
    row: Function,
    function: lambda_.IFunction,
    *,
    jobs: ddb.TableV2,
    queues: Queues,
    deployment: Deployment,
) -> None:
    """Connect the function to the triggers of its row. `jobs` is the table with the stream."""
    for trigger in row.triggers:
        match trigger:
            case JobsStream():
                function.add_event_source(_stream(jobs, trigger, deployment))
            case Queue(queue, batch_size):
                source = SqsEventSource(
                    queues[queue], batch_size=batch_size, report_batch_item_failures=True
                )
                function.add_event_source(source)
            case EveryMinute():
                _schedule(scope, row, function)
            case TaskCrashes():
                _crashes(scope, row, function, deployment)
            case AsyncCalls():
                pass
    if any(isinstance(trigger, AsyncCalls | EveryMinute) for trigger in row.triggers):
        # By default, Lambda calls a function that failed twice more, and keeps calls for 6 h.
        function.configure_async_invoke(max_event_age=MAX_EVENT_AGE, retry_attempts=0)


def _stream(jobs: ddb.TableV2, stream: JobsStream, deployment: Deployment) -> DynamoEventSource:
    wakes = deployment.functions.wake_scaler and not deployment.is_local
    patterns = (*stream.filters, *(stream.filters_for_scaler if wakes else ()))
    window, max_age = stream.window_seconds, stream.max_age_seconds
    return DynamoEventSource(
        jobs,
        # LATEST could miss changes that are made while AWS creates the mapping.
        starting_position=lambda_.StartingPosition.TRIM_HORIZON,
        batch_size=stream.batch_size,
        max_batching_window=Duration.seconds(window) if window else None,
        parallelization_factor=parallel_batches(stream, deployment),
        report_batch_item_failures=stream.reports_failures,
        bisect_batch_on_error=stream.reports_failures,
        retry_attempts=stream.retries,
        max_record_age=Duration.seconds(max_age) if max_age else None,
        # An alarm reads how many records were dropped for their age.
        metrics_config=lambda_.MetricsConfig(metrics=[lambda_.MetricType.EVENT_COUNT])
        if max_age and not deployment.is_local
        else None,
        filters=[lambda_.FilterCriteria.filter(pattern) for pattern in patterns],
    )


def _schedule(scope: Construct, row: Function, function: lambda_.IFunction) -> None:
    every = Duration.minutes(1)
    scheduler.Schedule(
        scope,
        f"{row.name}EveryMinute",
        description=f"Comfyline {row.name}: every minute",
        schedule=scheduler.ScheduleExpression.rate(every),
        # The next minute is the retry.
        target=LambdaInvoke(function, retry_attempts=0, max_event_age=every),
    )


def _crashes(
    scope: Construct, row: Function, function: lambda_.IFunction, deployment: Deployment
) -> None:
    """A rule for tasks that crash. A worker that drains or retires exits with 0."""
    stack = Stack.of(scope)
    cluster = stack.format_arn(
        service="ecs", resource="cluster", resource_name=deployment.cluster_name
    )
    events.Rule(
        scope,
        f"{row.name}OfTheFleet",
        description=f"Comfyline {row.name}: workers that crash or cannot be started",
        event_pattern=events.EventPattern(
            source=["aws.ecs"],
            detail_type=["ECS Task State Change"],
            detail={
                "clusterArn": [cluster],
                "lastStatus": ["STOPPED"],
                "$or": [
                    {
                        "stopCode": ["EssentialContainerExited"],
                        "containers": {"exitCode": [{"anything-but": [0]}]},
                    },
                    # Not for a lack of capacity, which is no fault of the image.
                    {
                        "stopCode": ["TaskFailedToStart"],
                        "stoppedReason": [{"prefix": prefix} for prefix in _NOT_STARTED],
                    },
                ],
            },
        ),
        targets=[LambdaFunction(function, retry_attempts=2)],
    )
