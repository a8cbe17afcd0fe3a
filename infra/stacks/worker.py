"""The GPU worker: its task definition with roles and environment variables, and its service.

An emulator has no fleet. There the stack is the task definition only, from which localcloud/ starts
workers as processes of this machine.
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from comfyline.service.settings import WorkerSettings
from comfyline.service.storage_names import MODELS_PREFIX
from infra.constructs.asg_capacity import MODELS_FOLDER
from infra.constructs.function import LOG_RETENTION, environment
from infra.constructs.image import repository_arns
from infra.constructs.role import role
from infra.constructs.worker_service import worker_services
from infra.deployment import Deployment
from infra.grants import PULL_IMAGE, WORKER_GRANTS, WRITE_LOGS, Resource
from infra.key_grants import key_grants
from infra.stacks.data import DataStack
from infra.stacks.fleet import FleetStack

# One task fills the smallest GPU instance (4 vCPU, 16 GiB) by its GPU. The rest is for the
# system and the ECS agent; how much Managed Instances keep for them is not documented.
CPU_UNITS = 3584
MEMORY_MIB = 13 * 1024
# The worker drains within 100 s, and AWS takes a spot instance back after 120 s.
STOP_TIMEOUT = Duration.seconds(110)

# Of the GPU instances. So an image for ARM is refused, and does not crash on every instance.
PLATFORM = {"CpuArchitecture": "X86_64", "OperatingSystemFamily": "LINUX"}

USER = "10001:10001"  # the same as in the image
# A worker that is not root needs these to run its engine as another user, and to end it. In the
# image, only the worker's own interpreter has them.
CAPABILITIES = (
    ecs.Capability.SETUID,
    ecs.Capability.SETGID,
    ecs.Capability.KILL,
    # Nodes write files of any mode, and the worker must read and remove them.
    ecs.Capability.DAC_OVERRIDE,
    ecs.Capability.FOWNER,
)
# The only paths that can be written. Each is a VOLUME of the image. The host creates it, and it is
# removed with the task, except for the models of an instance that outlives its tasks.
VOLUMES = {"models": "/models", "work": "/work", "tmp": "/tmp"}  # noqa: S108 - the container's own

_COMPATIBILITY = {
    "managed": ecs.Compatibility.MANAGED_INSTANCES,
    "asg": ecs.Compatibility.EC2,
}

DESCRIPTION = "Comfyline: the GPU worker, its task definition, roles and services"


class WorkerStack(Stack):
    """The task definition, its roles and its service."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        fleet: FleetStack | None = None,
    ) -> None:
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        self.log_group = logs.LogGroup(
            self, "Logs", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        self._models = (
            s3.Bucket.from_bucket_name(self, "Models", deployment.worker.models_bucket)
            if deployment.worker.models_bucket
            else data.artifacts
        )
        task_role = self._task_role(deployment, data)
        self.task = ecs.TaskDefinition(
            self,
            "Worker",
            compatibility=_COMPATIBILITY[deployment.fleet.capacity],
            # In host mode the task uses the instance's public address. With a network interface of
            # its own it would have no public address, and would need NAT.
            network_mode=ecs.NetworkMode.HOST,
            cpu=str(CPU_UNITS),
            memory_mib=str(MEMORY_MIB),
            task_role=task_role,
            execution_role=self._execution_role(deployment.worker.image),
        )
        template = self.task.node.default_child
        assert isinstance(template, ecs.CfnTaskDefinition)
        # By hand, because the CDK has it for some kinds of capacity only.
        template.add_property_override("RuntimePlatform", PLATFORM)
        self._add_container(
            deployment, environment(WorkerSettings, values=self._values(deployment, data))
        )
        if fleet is not None:
            is_managed = deployment.fleet.capacity == "managed"
            worker_services(self, fleet, self.task, is_managed=is_managed)
        CfnOutput(
            self,
            "WorkerTaskDefinition",
            value=self.task.task_definition_arn,
            description="Task definition of the GPU worker",
        )
        CfnOutput(
            self,
            "WorkerTaskRole",
            value=task_role.role_arn,
            description="Role of the GPU worker, and of what its graphs run",
        )

    def _task_role(self, deployment: Deployment, data: DataStack) -> iam.IRole:
        # By name, because an emulator has no cluster.
        tasks = self.format_arn(
            service="ecs", resource="task", resource_name=f"{deployment.cluster_name}/*"
        )
        models = self._models.arn_for_objects(f"{MODELS_PREFIX}*")
        arns = {**data.arns, Resource.TASKS: [tasks], Resource.MODELS: [models]}
        return role(
            self,
            "TaskRole",
            "ecs-tasks",
            (*WORKER_GRANTS, *key_grants(WORKER_GRANTS)),
            arns,
            description="Comfyline worker: the permissions of the worker and of its jobs",
        )

    def _execution_role(self, image: str) -> iam.IRole:
        """The role with which ECS starts the container: it pulls the image and opens the log."""
        repositories = repository_arns(self, image)
        arns = {
            Resource.OWN_LOGS: [self.log_group.log_group_arn],
            Resource.IMAGE: repositories,
            Resource.ANY: ["*"],
        }
        grants = [WRITE_LOGS, *(PULL_IMAGE if repositories else ())]
        return role(
            self,
            "ExecutionRole",
            "ecs-tasks",
            grants,
            arns,
            description="Comfyline worker: how ECS pulls the image and opens the log",
        )

    def _values(self, deployment: Deployment, data: DataStack) -> dict[str, str]:
        return {
            **data.values,
            "models_bucket": self._models.bucket_name,
            "metrics_namespace": deployment.metrics_namespace,
            "engine_version": deployment.worker.engine_version,
            "lease_seconds": str(deployment.worker.lease_seconds),
            "engine_egress": str(int(deployment.worker.engine_egress)),
            "heartbeat_seconds": str(deployment.worker.heartbeat_seconds),
            "progress_seconds": str(deployment.worker.progress_seconds),
            "early_jobs": str(deployment.worker.early_jobs),
            "follow_queued_prompts": str(deployment.worker.follow_queued_prompts),
            "thumbnails": str(deployment.worker.thumbnails),
        }

    def _add_container(self, deployment: Deployment, variables: dict[str, str]) -> None:
        container = self.task.add_container(
            "Worker",
            image=ecs.ContainerImage.from_registry(deployment.worker.image),
            gpu_count=1,
            stop_timeout=STOP_TIMEOUT,
            user=USER,
            readonly_root_filesystem=True,
            linux_parameters=self._linux_parameters(),
            # ECS does not give the region to a task on an instance. The SDK reads this variable.
            environment={**variables, "AWS_DEFAULT_REGION": self.region},
            logging=ecs.LogDrivers.aws_logs(stream_prefix="worker", log_group=self.log_group),
        )
        outlives_tasks = deployment.fleet.capacity == "asg" and not deployment.is_local
        hosts = {"models": ecs.Host(source_path=MODELS_FOLDER)} if outlives_tasks else {}
        for name, path in VOLUMES.items():
            self.task.add_volume(name=name, host=hosts.get(name))
            container.add_mount_points(
                ecs.MountPoint(container_path=path, source_volume=name, read_only=False)
            )

    def _linux_parameters(self) -> ecs.LinuxParameters:
        # An init process reaps the children that a killed engine leaves behind.
        parameters = ecs.LinuxParameters(self, "Limits", init_process_enabled=True)
        parameters.drop_capabilities(ecs.Capability.ALL)
        parameters.add_capabilities(*CAPABILITIES)
        return parameters
