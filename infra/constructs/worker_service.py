"""The ECS service that runs the workers; the scaler sets its desired count."""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.deployment import Capacity
from infra.stacks.fleet import FleetStack

SERVICE_NAME = "worker"


def worker_service(
    scope: Construct, capacity: Capacity, fleet: FleetStack, task: ecs.TaskDefinition
) -> ecs.BaseService:
    """The service, with a desired count of 0, because the scaler sets the count.

    So a deployment never starts a GPU and never waits for one. An update of the service sets the
    count to 0 again; protected tasks stay, and the scaler restores the count within a minute.
    """
    managed = capacity == "managed"
    # The CDK's Ec2Service refuses tasks for Managed Instances, and its FargateService takes them.
    service_type = ecs.FargateService if managed else ecs.Ec2Service
    service: ecs.BaseService = service_type(
        scope,
        "Service",
        service_name=SERVICE_NAME,
        cluster=fleet.cluster,
        task_definition=task,
        desired_count=0,
        # A worker that is replaced gives its job back first. With a higher minimum, ECS would start
        # a second GPU beside it.
        min_healthy_percent=0,
        max_healthy_percent=200,
        circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
        capacity_provider_strategies=fleet.strategies,
        enable_ecs_managed_tags=True,
        propagate_tags=ecs.PropagatedTagSource.SERVICE,
    )
    if managed:
        # The CDK writes a network configuration for every FargateService, and ECS refuses it for
        # tasks in host mode. The security group that it names, which lets everything out, is then
        # unused.
        template = service.node.default_child
        assert isinstance(template, ecs.CfnService)
        template.add_property_deletion_override("NetworkConfiguration")
        service.node.try_remove_child("SecurityGroup")
    return service
