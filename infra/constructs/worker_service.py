"""The ECS service that keeps as many workers as the scaler says."""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.deployment import Capacity
from infra.stacks.fleet import FleetStack

SERVICE_NAME = "worker"


def worker_service(
    scope: Construct, capacity: Capacity, fleet: FleetStack, task: ecs.TaskDefinition
) -> ecs.BaseService:
    """The service, asking for no task: the count is the scaler's.

    So neither a deployment nor a missing quota ever starts a GPU. An update of the service sets the
    count to 0 again; protected tasks stay, and the scaler restores it within a minute.
    """
    managed = capacity == "managed"
    # An Ec2Service refuses the tasks of Managed Instances; this one takes them.
    service_type = ecs.FargateService if managed else ecs.Ec2Service
    service: ecs.BaseService = service_type(
        scope,
        "Service",
        service_name=SERVICE_NAME,
        cluster=fleet.cluster,
        task_definition=task,
        desired_count=0,
        # A worker that is replaced gives its job back; a second one beside it is a second GPU.
        min_healthy_percent=0,
        max_healthy_percent=200,
        circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
        capacity_provider_strategies=fleet.strategies,
        enable_ecs_managed_tags=True,
        propagate_tags=ecs.PropagatedTagSource.SERVICE,
    )
    if managed:
        # CDK writes it for every FargateService, and ECS refuses it for tasks in host mode. The
        # group in it, which would let everything out, is nobody's then.
        template = service.node.default_child
        assert isinstance(template, ecs.CfnService)
        template.add_property_deletion_override("NetworkConfiguration")
        service.node.try_remove_child("SecurityGroup")
    return service
