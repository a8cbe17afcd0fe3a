"""Capacity by an Auto Scaling group. It shrinks more slowly, but takes a team's own AMI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import jsii
from aws_cdk import Size
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from comfyline.service.fleet.capacity import Capacity
from infra.constructs.network import WorkerNetwork
from infra.constructs.warm_pool import add_warm_pool, prepare, warm_pool_policy
from infra.deployment import Deployment
from infra.sections.workers import Fleet

VOLUME_GIB = 200
# gp3 includes 125 MiB/s, at which unpacking a 7 GB image takes a minute.
VOLUME_THROUGHPUT_MIB = 500
ENGINE_UID = 10002  # the user `comfyui` of the image
METADATA = "169.254.0.0/16"  # the instance's metadata, and the credentials of its tasks
# A name for the constructs, and the share of on-demand instances in the group.
_SHARES = {Capacity.ONDEMAND: ("OnDemand", 100), Capacity.SPOT: ("Spot", 0)}
# Where an instance keeps models for the worker's tasks, one after another. The folder belongs to
# the user `worker` of the image: the host would make it for root.
MODELS_FOLDER = "/var/lib/comfyline/models"
WORKER_UID = 10001
BOOT_SCRIPT = "/var/lib/cloud/scripts/per-boot/comfyline"
_AGENT_OPTIONS = (
    # The CDK's `spot_instance_draining` has no effect on a group with mixed instances. Without this
    # option, ECS does not pass a spot notice on to the worker, which is then stopped too late.
    "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
    "ECS_CONTAINER_STOP_TIMEOUT=110s",
    # By default, ECS keeps a stopped task's volumes, with the files of its jobs, for three hours. A
    # few such tasks would fill the disk.
    "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=5m",
)


def _agent_options(deployment: Deployment) -> Iterator[str]:
    yield from _AGENT_OPTIONS
    # An image that the instance has is used without a look at the registry, which saves a minute.
    # Under a tag, the registry may have another image by now.
    behavior = "prefer-cached" if deployment.worker.image_is_pinned else "default"
    yield f"ECS_IMAGE_PULL_BEHAVIOR={behavior}"
    if deployment.fleet.warm_pool:
        # An instance that is about to be stopped must not register with the cluster.
        yield "ECS_WARM_POOLS_CHECK=true"


def asg_capacity(
    scope: Construct,
    deployment: Deployment,
    cluster: ecs.Cluster,
    network: WorkerNetwork,
    models: str,
) -> Mapping[Capacity, str]:
    """Add two capacity providers to the cluster, each with a group, and return their names.

    `models` is the name of the bucket with the models.
    """
    launch = _launch_template(scope, deployment, network, models)
    names = dict[Capacity, str]()
    for capacity, (name, on_demand) in _SHARES.items():
        group = _group(scope, name, on_demand, deployment, launch, network)
        # Spot instances cannot be stopped by a group.
        if deployment.fleet.warm_pool and capacity is Capacity.ONDEMAND:
            add_warm_pool(group, deployment.fleet.warm_pool)
        names[capacity] = _provider(scope, f"{name}Group", group, cluster)
    return names


def _group(
    scope: Construct,
    name: str,
    on_demand_percentage: int,
    deployment: Deployment,
    launch: ec2.LaunchTemplate,
    network: WorkerNetwork,
) -> autoscaling.AutoScalingGroup:
    return autoscaling.AutoScalingGroup(
        scope,
        name,
        # Instances of a warm pool must know the name of their group.
        auto_scaling_group_name=_group_name(deployment, name),
        vpc=network.vpc,
        vpc_subnets=ec2.SubnetSelection(subnets=list(network.subnets)),
        min_capacity=0,
        max_capacity=deployment.scaling.max_workers,
        mixed_instances_policy=_mix(deployment.fleet, launch, on_demand_percentage),
        # Managed termination protection requires it, so that no instance with a task is terminated.
        new_instances_protected_from_scale_in=True,
        # ECS gets no notice of a termination for rebalancing, so the worker could not drain.
        capacity_rebalance=False,
    )


def _group_name(deployment: Deployment, name: str) -> str:
    return f"{deployment.cluster_name}-{name.lower()}"


def _provider(
    scope: Construct, name: str, group: autoscaling.AutoScalingGroup, cluster: ecs.Cluster
) -> str:
    provider = ecs.AsgCapacityProvider(
        scope,
        name,
        auto_scaling_group=group,
        enable_managed_scaling=True,
        enable_managed_termination_protection=True,
        enable_managed_draining=True,
        target_capacity_percent=100,
    )
    cluster.add_asg_capacity_provider(provider)
    return provider.capacity_provider_name


def _mix(
    fleet: Fleet, launch: ec2.LaunchTemplate, on_demand_percentage: int
) -> autoscaling.MixedInstancesPolicy:
    return autoscaling.MixedInstancesPolicy(
        launch_template=launch,
        launch_template_overrides=[
            autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType(name))
            for name in fleet.instance_types
        ],
        instances_distribution=autoscaling.InstancesDistribution(
            on_demand_percentage_above_base_capacity=on_demand_percentage,
            spot_allocation_strategy=(autoscaling.SpotAllocationStrategy.PRICE_CAPACITY_OPTIMIZED),
        ),
    )


def _engine_rules(deployment: Deployment) -> Iterator[str]:
    """Firewall rules for the engine's user, because the engine uses the host's network.

    The engine can never reach the instance's metadata or the task's credentials.
    """
    rules = [f"-d {METADATA} -j REJECT"]
    if not deployment.worker.engine_egress:
        rules = ["-o lo -j ACCEPT", "-j REJECT"]
    for rule in rules:
        yield f"iptables -A OUTPUT -m owner --uid-owner {ENGINE_UID} {rule}"
    yield f"ip6tables -A OUTPUT -m owner --uid-owner {ENGINE_UID} ! -o lo -j REJECT"


def _user_data(deployment: Deployment, models: str) -> ec2.UserData:
    """The commands of an instance's first boot, and the script of each boot.

    The kernel forgets firewall rules when the instance stops. The ECS agent starts after cloud-init
    has run both.
    """
    owner = f"--owner {WORKER_UID} --group {WORKER_UID}"
    at_each_boot = list(_engine_rules(deployment))
    if deployment.fleet.warm_pool:
        group = _group_name(deployment, _SHARES[Capacity.ONDEMAND][0])
        at_each_boot += prepare(deployment, models, group, MODELS_FOLDER)
    user_data = ec2.UserData.for_linux()
    user_data.add_commands(
        *(f"echo {option} >> /etc/ecs/ecs.config" for option in _agent_options(deployment)),
        f"install --directory {owner} --mode 0755 {MODELS_FOLDER}",
        f"cat > {BOOT_SCRIPT} <<'END'",
        "#!/bin/bash",
        *at_each_boot,
        "END",
        f"chmod 0755 {BOOT_SCRIPT}",
        BOOT_SCRIPT,  # cloud-init has looked for such scripts before it ran this one
    )
    return user_data


@jsii.implements(ec2.IMachineImage)
class _OwnImage:
    """An AMI of the region of the deployment, which the CDK does not know."""

    def __init__(self, ami_id: str) -> None:
        self._ami_id = ami_id

    def get_image(self, _scope: Construct) -> ec2.MachineImageConfig:
        """The AMI, as the CDK wants it."""
        return ec2.MachineImageConfig(
            image_id=self._ami_id,
            os_type=ec2.OperatingSystemType.LINUX,
            user_data=ec2.UserData.for_linux(),
        )


def _machine_image(ami_id: str | None) -> ec2.IMachineImage:
    if ami_id is None:
        return ecs.EcsOptimizedImage.amazon_linux2023(ecs.AmiHardwareType.GPU)
    image: ec2.IMachineImage = _OwnImage(ami_id)
    return image


def _launch_template(
    scope: Construct, deployment: Deployment, network: WorkerNetwork, models: str
) -> ec2.LaunchTemplate:
    policies = {}
    if deployment.fleet.warm_pool:
        group = _group_name(deployment, _SHARES[Capacity.ONDEMAND][0])
        policies = {"WarmPool": warm_pool_policy(scope, deployment, models, group)}
    role = iam.Role(
        scope,
        "InstanceRole",
        description="Comfyline: what the ECS agent of a GPU instance may do",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        # A task in host mode can use this role too. The cluster adds only what its agent needs.
        inline_policies=policies,
    )
    rate = deployment.fleet.restore_mib_a_second
    return ec2.LaunchTemplate(
        scope,
        "Launch",
        machine_image=_machine_image(deployment.fleet.ami_id),
        role=role,
        security_group=network.security_groups[0],
        user_data=_user_data(deployment, models),
        require_imdsv2=True,
        http_put_response_hop_limit=1,
        detailed_monitoring=False,
        block_devices=[
            ec2.BlockDevice(
                device_name="/dev/xvda",
                volume=ec2.BlockDeviceVolume.ebs(
                    VOLUME_GIB,
                    encrypted=True,
                    volume_type=ec2.EbsDeviceVolumeType.GP3,
                    throughput=VOLUME_THROUGHPUT_MIB,
                    volume_initialization_rate=Size.mebibytes(rate) if rate else None,
                ),
            )
        ],
    )
