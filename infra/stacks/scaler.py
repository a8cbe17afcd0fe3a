"""What sets the number of workers: each minute, and within seconds when a job meets an idle fleet.

The jobs table's stream wakes it, so that submitting costs no call more and cannot forget to.
"""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk.aws_lambda_event_sources import DynamoEventSource
from aws_cdk.aws_scheduler_targets import LambdaInvoke
from constructs import Construct

from comfyline.service.settings import ScaleWorkersSettings
from infra.constructs.function import PythonFunction
from infra.constructs.grants import SCALER_GRANTS, Resource
from infra.constructs.worker_service import SERVICE_NAME
from infra.deployment import Deployment
from infra.stacks.data import DataStack

EVERY = Duration.minutes(1)
# Six calls of some milliseconds, one of them retried.
TIMEOUT = Duration.seconds(20)
# Jobs that come together wake the fleet together: one call in so many seconds at most.
WAKE_WINDOW = Duration.seconds(3)
WAKE_BATCH = 1000


class ScalerStack(Stack):
    """The scaler and what it remembers. It knows the fleet by name alone."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        code: lambda_.Code,
    ) -> None:
        super().__init__(scope, name, stack_name=name)
        memory = ddb.TableV2(
            self,
            "Scaling",
            partition_key=ddb.Attribute(name="pk", type=ddb.AttributeType.STRING),
            billing=ddb.Billing.on_demand(),
            removal_policy=RemovalPolicy.DESTROY,  # it knows the last minutes
        )
        arns = {
            **data.arns,
            Resource.FLEET: [self._service_arn(deployment)],
            Resource.SCALING: [memory.table_arn],
        }
        self.function = PythonFunction(
            self,
            "ScaleWorkers",
            handler="scale_workers.handler",
            code=code,
            architecture=deployment.architecture,
            tracing=deployment.tracing,
            log_level=deployment.log_level,
            settings=self._settings(deployment, data, memory.table_name),
            grants=SCALER_GRANTS,
            arns=arns,
            timeout=TIMEOUT,
        ).function
        self._wake_on_new_jobs(data)
        scheduler.Schedule(
            self,
            "EveryMinute",
            schedule=scheduler.ScheduleExpression.rate(EVERY),
            # The next minute is the retry.
            target=LambdaInvoke(self.function, retry_attempts=0, max_event_age=EVERY),
        )

    def _service_arn(self, deployment: Deployment) -> str:
        if deployment.is_local:  # the emulator judges calls for a service by its cluster
            return self.format_arn(
                service="ecs", resource="cluster", resource_name=deployment.cluster_name
            )
        return self.format_arn(
            service="ecs",
            resource="service",
            resource_name=f"{deployment.cluster_name}/{SERVICE_NAME}",
        )

    def _settings(
        self, deployment: Deployment, data: DataStack, table: str
    ) -> ScaleWorkersSettings:
        fleet = deployment.fleet
        return ScaleWorkersSettings(
            metrics_namespace=deployment.metrics_namespace,
            cluster=deployment.cluster_name,
            service=SERVICE_NAME,
            scaling_table=table,
            min_workers=fleet.min_workers,
            max_workers=fleet.max_workers,
            warm_workers=fleet.warm_workers,
            warm_hours=fleet.warm_hours,
            job_seconds=fleet.job_seconds,
            target_wait_seconds=fleet.target_wait_seconds,
            boot_seconds=fleet.boot_seconds,
            quiet_seconds=fleet.quiet_seconds,
            **data.queue_urls,
        )

    def _wake_on_new_jobs(self, data: DataStack) -> None:
        new_job = {"eventName": ["INSERT"], "dynamodb": {"Keys": {"sk": {"S": ["job"]}}}}
        self.function.add_event_source(
            DynamoEventSource(
                data.jobs,
                # LATEST could miss what comes while the mapping is being made.
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                batch_size=WAKE_BATCH,
                max_batching_window=WAKE_WINDOW,
                # The minute's round is the retry, and an older job has had one.
                retry_attempts=0,
                max_record_age=EVERY,
                filters=[lambda_.FilterCriteria.filter(new_job)],
            )
        )
