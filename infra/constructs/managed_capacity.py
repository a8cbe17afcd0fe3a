"""Capacity by ECS Managed Instances: spot and on demand, gone as soon as their task is."""

from __future__ import annotations

from aws_cdk import Size
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.network import WorkerNetwork
from infra.deployment import Deployment, Fleet

# How long an instance without a task is kept, for the next task of a rolling deployment. The
# scaler's quiet time keeps warm workers; an empty instance costs the same and has nothing loaded.
SCALE_IN_AFTER_SECONDS = 60
MIN_VCPUS, MIN_MEMORY_MIB = 4, 15_000
# Image, models and outputs, on EBS where an instance has no local disk.
VOLUME = Size.gibibytes(200)


def managed_capacity(
    scope: Construct, deployment: Deployment, cluster: ecs.Cluster, network: WorkerNetwork
) -> list[ecs.CapacityProviderStrategy]:
    """The two providers, added to the cluster, and their shares."""
    shares = {
        "Spot": (ecs.CapacityOptionType.SPOT, deployment.fleet.spot_percent),
        "OnDemand": (ecs.CapacityOptionType.ON_DEMAND, 100 - deployment.fleet.spot_percent),
    }
    strategies = []
    for name, (option, weight) in shares.items():
        provider = _provider(scope, name, option, deployment.fleet, network)
        cluster.add_managed_instances_capacity_provider(provider)
        if weight:  # ECS takes no strategy whose weights are all 0, and none that is useless
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
            # One GPU: one task fills the instance, so none is ever moved to save another.
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
