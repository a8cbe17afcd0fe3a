"""The GPU fleet: a network without fixed costs, a cluster, and the capacity for its tasks.

It deploys before the worker's stack and does not use its task definition. Every deployment of a
worker makes a new revision of the task definition, and CloudFormation refuses to change a value
that another stack imports.
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from infra.constructs.asg_capacity import asg_capacity
from infra.constructs.managed_capacity import managed_capacity
from infra.constructs.network import worker_network
from infra.deployment import Deployment

DESCRIPTION = "Comfyline: network, cluster and GPU capacity of the workers"


class FleetStack(Stack):
    """Everything that costs money while workers run, and nothing that costs money otherwise."""

    def __init__(self, scope: Construct, name: str, *, deployment: Deployment, models: str) -> None:
        """`models` is the name of the bucket with the models."""
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        network = worker_network(self, deployment)
        insights = ecs.ContainerInsights
        self.cluster = ecs.Cluster(
            self,
            "Cluster",
            cluster_name=deployment.cluster_name,
            vpc=network.vpc,
            container_insights_v2=(
                insights.ENHANCED
                if deployment.observability.container_insights
                else insights.DISABLED
            ),
        )
        if deployment.fleet.capacity == "managed":
            self.providers = managed_capacity(self, deployment, self.cluster, network)
        else:
            self.providers = asg_capacity(self, deployment, self.cluster, network, models)
        CfnOutput(
            self,
            "FleetCluster",
            value=self.cluster.cluster_name,
            description="ECS cluster of the GPU workers",
        )
        CfnOutput(
            self,
            "WorkerSecurityGroup",
            value=network.security_groups[0].security_group_id,
            description="Security group of the GPU instances",
        )
