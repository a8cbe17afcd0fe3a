"""Capacity by ECS Managed Instances, spot and on demand. They end soon after their task."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from comfyline.service.fleet.capacity import Capacity
from infra.constructs.network import WorkerNetwork
from infra.deployment import Deployment

# An instance without a task is kept this long, for the next task of a rolling deployment. Not
# longer, because an empty instance costs as much as a warm worker and has no model loaded; keeping
# warm workers is the job of the scaler's quiet time.
SCALE_IN_AFTER_SECONDS = 60
MIN_VCPUS, MIN_MEMORY_MIB = 4, 15_000
# For image, models and outputs; on EBS if the instance has no local disk.
VOLUME = Size.gibibytes(200)
# By default, AWS leaves out the types that cost 20 % more than the cheapest one, which would be
# g5.xlarge beside g6.xlarge. The deployment has chosen the types, so their price is no reason.
NO_PRICE_LIMIT = 999_999
_OPTIONS = {
    Capacity.ONDEMAND: ("OnDemand", ecs.CapacityOptionType.ON_DEMAND),
    Capacity.SPOT: ("Spot", ecs.CapacityOptionType.SPOT),
}


def managed_capacity(
    scope: Construct, deployment: Deployment, cluster: ecs.Cluster, network: WorkerNetwork
) -> Mapping[Capacity, str]:
    """Add two capacity providers to the cluster, and return their names."""
    names = dict[Capacity, str]()
    for capacity, (name, option) in _OPTIONS.items():
        provider = _provider(scope, name, option, deployment, network)
        cluster.add_managed_instances_capacity_provider(provider)
        names[capacity] = provider.capacity_provider_name
    return names


def _provider(
    scope: Construct,
    name: str,
    option: ecs.CapacityOptionType,
    deployment: Deployment,
    network: WorkerNetwork,
) -> ecs.ManagedInstancesCapacityProvider:
    is_spot = option is ecs.CapacityOptionType.SPOT
    provider = ecs.ManagedInstancesCapacityProvider(
        scope,
        name,
        capacity_option_type=option,
        subnets=list(network.subnets),
        security_groups=list(network.security_groups),
        task_volume_storage=VOLUME,
        instance_requirements=ec2.InstanceRequirementsConfig(
            v_cpu_count_min=MIN_VCPUS,
            memory_min=Size.mebibytes(MIN_MEMORY_MIB),
            # With one GPU, a task fills its instance, so ECS never moves one to save an instance.
            accelerator_count_min=1,
            accelerator_count_max=1,
            accelerator_types=[ec2.AcceleratorType.GPU],
            accelerator_manufacturers=[ec2.AcceleratorManufacturer.NVIDIA],
            allowed_instance_types=list(deployment.fleet.instance_types),
            on_demand_max_price_percentage_over_lowest_price=None if is_spot else NO_PRICE_LIMIT,
            spot_max_price_percentage_over_lowest_price=NO_PRICE_LIMIT if is_spot else None,
        ),
    )
    _add_what_cdk_lacks(provider)
    _name_roles(provider, deployment.cluster_name)
    return provider


def _name_roles(provider: ecs.ManagedInstancesCapacityProvider, cluster: str) -> None:
    """Describe both roles, and put the region into the name of the instances' role.

    Roles are global, and the CDK's name for this one is that of the path. It must begin with
    `ecsInstanceRole`, because AWS's policy for ECS allows no other.
    """
    roles = [child for child in provider.node.find_all() if isinstance(child, iam.CfnRole)]
    (instance,) = (role for role in roles if "InstanceRole" in role.node.path)
    (infrastructure,) = (role for role in roles if role is not instance)
    capacity = provider.node.id.lower()
    instance.role_name = f"ecsInstanceRole-{cluster}-{capacity[0]}-{Stack.of(provider).region}"
    instance.description = f"Comfyline {capacity}: what the agent of a GPU instance may do"
    infrastructure.description = f"Comfyline {capacity}: how ECS starts and ends GPU instances"


def _add_what_cdk_lacks(provider: ecs.ManagedInstancesCapacityProvider) -> None:
    (template,) = (
        child for child in provider.node.find_all() if isinstance(child, ecs.CfnCapacityProvider)
    )
    template.add_property_override(
        "ManagedInstancesProvider.InfrastructureOptimization.ScaleInAfter", SCALE_IN_AFTER_SECONDS
    )
    template.add_property_override(
        "ManagedInstancesProvider.InstanceLaunchTemplate.LocalStorageConfiguration.UseLocalStorage",
        True,
    )
