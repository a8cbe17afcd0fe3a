"""Capacity by ECS Managed Instances, spot and on demand. They end soon after their task."""

from __future__ import annotations

from aws_cdk import Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.network import WorkerNetwork
from infra.deployment import Deployment, Fleet

# An instance without a task is kept this long, for the next task of a rolling deployment. Not
# longer, because an empty instance costs as much as a warm worker and has no model loaded; keeping
# warm workers is the job of the scaler's quiet time.
SCALE_IN_AFTER_SECONDS = 60
MIN_VCPUS, MIN_MEMORY_MIB = 4, 15_000
# For image, models and outputs; on EBS if the instance has no local disk.
VOLUME = Size.gibibytes(200)


def managed_capacity(
    scope: Construct, deployment: Deployment, cluster: ecs.Cluster, network: WorkerNetwork
) -> list[ecs.CapacityProviderStrategy]:
    """Add two capacity providers to the cluster, spot and on demand, and return their shares."""
    shares = {
        "Spot": (ecs.CapacityOptionType.SPOT, deployment.fleet.spot_percent),
        "OnDemand": (ecs.CapacityOptionType.ON_DEMAND, 100 - deployment.fleet.spot_percent),
    }
    strategies = []
    for name, (option, weight) in shares.items():
        provider = _provider(scope, name, option, deployment.fleet, network)
        cluster.add_managed_instances_capacity_provider(provider)
        if weight:  # ECS refuses a strategy with the weight 0 alone
            strategies.append(
                ecs.CapacityProviderStrategy(
                    capacity_provider=provider.capacity_provider_name, weight=weight
                )
            )
    return strategies


def _provider(
    scope: Construct,
    name: str,
    option: ecs.CapacityOptionType,
    fleet: Fleet,
    network: WorkerNetwork,
) -> ecs.ManagedInstancesCapacityProvider:
    provider = ecs.ManagedInstancesCapacityProvider(
        scope,
        name,
        capacity_option_type=option,
        subnets=network.vpc.public_subnets,
        security_groups=[network.security_group],
        task_volume_storage=VOLUME,
        instance_requirements=ec2.InstanceRequirementsConfig(
            v_cpu_count_min=MIN_VCPUS,
            memory_min=Size.mebibytes(MIN_MEMORY_MIB),
            # With one GPU, a task fills its instance, so ECS never moves one to save an instance.
            accelerator_count_min=1,
            accelerator_count_max=1,
            accelerator_types=[ec2.AcceleratorType.GPU],
            accelerator_manufacturers=[ec2.AcceleratorManufacturer.NVIDIA],
            allowed_instance_types=list(fleet.instance_types),
        ),
    )
    _add_what_cdk_lacks(provider)
    return provider


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
