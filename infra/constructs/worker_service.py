"""The two ECS services that run the workers; the scaler sets their desired counts."""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs
from constructs import Construct

from comfyline.service.fleet.capacity import Capacity
from infra.stacks.fleet import FleetStack


def worker_services(
    scope: Construct, fleet: FleetStack, task: ecs.TaskDefinition, *, is_managed: bool
) -> None:
    """One service for each capacity, with a desired count of 0, because the scaler sets the count.

    So a deployment never starts a GPU and never waits for one. An update of a service sets the
    count to 0 again; protected tasks stay, and the scaler restores the count within a minute. The
    deployment of a service without tasks is complete at once, so ECS's circuit breaker could not
    see an image that crashes. The scaler does: it counts crashes.
    """
    for capacity in Capacity:
        _service(scope, capacity, fleet, task, is_managed=is_managed)


def _service(
    scope: Construct,
    capacity: Capacity,
    fleet: FleetStack,
    task: ecs.TaskDefinition,
    *,
    is_managed: bool,
) -> None:
    # The CDK's Ec2Service refuses tasks for Managed Instances, and its FargateService takes them.
    service_type = ecs.FargateService if is_managed else ecs.Ec2Service
    service: ecs.BaseService = service_type(
        scope,
        f"{capacity.name.title()}Service",
        service_name=capacity.value,
        cluster=fleet.cluster,
        task_definition=task,
        desired_count=0,
        # A worker that is replaced gives its job back first. With a higher minimum, ECS would start
        # a second GPU beside it.
        min_healthy_percent=0,
        max_healthy_percent=200,
        # Otherwise ECS starts GPUs in one zone to stop others elsewhere, which have their models.
        availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.DISABLED,
        capacity_provider_strategies=[
            ecs.CapacityProviderStrategy(capacity_provider=fleet.providers[capacity], weight=1)
        ],
        enable_ecs_managed_tags=True,
        propagate_tags=ecs.PropagatedTagSource.SERVICE,
    )
    if is_managed:
        # The CDK writes a network configuration for every FargateService, and ECS refuses it for
        # tasks in host mode. The security group that it names, which lets everything out, is then
        # unused.
        template = service.node.default_child
        assert isinstance(template, ecs.CfnService)
        template.add_property_deletion_override("NetworkConfiguration")
        service.node.try_remove_child("SecurityGroup")
