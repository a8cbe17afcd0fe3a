"""The GPU worker's task: what runs, with which environment, and what it may do."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from comfyline.settings import WorkerSettings
from infra.constructs.function import LOG_RETENTION
from infra.constructs.grants import WORKER_GRANTS
from infra.deployment import Deployment
from infra.stacks.data import DataStack

# One task fills the smallest GPU instance (4 vCPU, 16 GiB) and leaves the agent its share.
CPU_UNITS = 3584
MEMORY_MIB = 14 * 1024
# The worker drains within 100 s, and a spot instance is taken back after 120 s.
STOP_TIMEOUT = Duration.seconds(110)


class WorkerStack(Stack):
    """The task definition and its role."""

    def __init__(
        self, scope: Construct, name: str, *, deployment: Deployment, data: DataStack
    ) -> None:
        super().__init__(scope, name, stack_name=name)
        role = self._role(data)
        self.task = ecs.TaskDefinition(
            self,
            "Worker",
            compatibility=ecs.Compatibility.MANAGED_INSTANCES,
            # A task with its own interface gets no public address on such hosts and would need NAT.
            network_mode=ecs.NetworkMode.HOST,
            cpu=str(CPU_UNITS),
            memory_mib=str(MEMORY_MIB),
            task_role=role.without_policy_updates(),
        )
        self._add_container(deployment, self._settings(deployment, data))
        CfnOutput(self, "WorkerTaskDefinition", value=self.task.task_definition_arn)
        CfnOutput(self, "WorkerTaskRole", value=role.role_arn)

    def _role(self, data: DataStack) -> iam.Role:
        statements = [grant.statement(data.arns) for grant in WORKER_GRANTS]
        return iam.Role(
            self,
            "TaskRole",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            inline_policies={"Grants": iam.PolicyDocument(statements=statements)},
        )

    def _settings(self, deployment: Deployment, data: DataStack) -> WorkerSettings:
        return WorkerSettings(
            jobs_table=data.jobs.table_name,
            artifacts_bucket=data.artifacts.bucket_name,
            lease_seconds=deployment.lease_seconds,
            heartbeat_seconds=deployment.heartbeat_seconds,
            high_queue_url=data.queue_urls["high_queue_url"],
            normal_queue_url=data.queue_urls["normal_queue_url"],
            low_queue_url=data.queue_urls["low_queue_url"],
        )

    def _add_container(self, deployment: Deployment, settings: WorkerSettings) -> None:
        log_group = logs.LogGroup(
            self, "Logs", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        self.task.add_container(
            "Worker",
            image=ecs.ContainerImage.from_registry(deployment.worker_image),
            gpu_count=1,
            stop_timeout=STOP_TIMEOUT,
            # ECS tells a task on an instance no region, and the SDK reads this name.
            environment={**settings.to_environment(), "AWS_DEFAULT_REGION": self.region},
            logging=ecs.LogDrivers.aws_logs(stream_prefix="worker", log_group=log_group),
        )
