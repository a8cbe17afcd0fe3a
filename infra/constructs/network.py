"""The workers' network: a new one without fixed costs, or one that exists.

The new one has public addresses, no way in, and no part that costs anything when idle. NAT and
interface endpoints are billed by the hour, and instances with public addresses need neither. The
security group keeps everything out: it has no rule for incoming traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.deployment import Deployment
from infra.sections.workers import Network

# The most that the CDK can name without an account. Each further zone would be one more spot pool.
ZONES = 2


@dataclass(frozen=True, slots=True)
class WorkerNetwork:
    """The network, subnets and security groups of the workers' instances."""

    vpc: ec2.IVpc
    subnets: Sequence[ec2.ISubnet]
    security_groups: Sequence[ec2.ISecurityGroup]


def worker_network(scope: Construct, deployment: Deployment) -> WorkerNetwork:
    """The network that the deployment names, or a new one."""
    chosen = deployment.network
    if chosen.vpc_id is None:
        made = _new_network(scope, deployment)
        return WorkerNetwork(made, made.public_subnets, _groups(scope, made, chosen))
    vpc = ec2.Vpc.from_vpc_attributes(
        scope,
        "Network",
        vpc_id=chosen.vpc_id,
        # The CDK asks for a zone for each subnet, and nothing here uses it.
        availability_zones=["unknown"] * len(chosen.subnet_ids),
        public_subnet_ids=list(chosen.subnet_ids),
    )
    return WorkerNetwork(vpc, vpc.public_subnets, _groups(scope, vpc, chosen))


def _new_network(scope: Construct, deployment: Deployment) -> ec2.Vpc:
    """A network with gateway endpoints, so that traffic to S3 and DynamoDB stays within AWS."""
    zones = list(deployment.fleet.zones)
    return ec2.Vpc(
        scope,
        "Network",
        ip_addresses=ec2.IpAddresses.cidr(deployment.network.cidr),
        availability_zones=zones or None,
        max_azs=None if zones else ZONES,
        nat_gateways=0,
        subnet_configuration=[
            ec2.SubnetConfiguration(
                name="Workers", subnet_type=ec2.SubnetType.PUBLIC, map_public_ip_on_launch=True
            )
        ],
        gateway_endpoints={
            "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            "DynamoDb": ec2.GatewayVpcEndpointOptions(
                service=ec2.GatewayVpcEndpointAwsService.DYNAMODB
            ),
        },
        # Nothing uses the default group, and restricting it would need a Lambda function.
        restrict_default_security_group=False,
    )


def _groups(scope: Construct, vpc: ec2.IVpc, chosen: Network) -> list[ec2.ISecurityGroup]:
    if chosen.security_group_ids:
        return [
            ec2.SecurityGroup.from_security_group_id(scope, f"Group{number}", group, mutable=False)
            for number, group in enumerate(chosen.security_group_ids)
        ]
    group = ec2.SecurityGroup(
        scope,
        "WorkerGroup",
        vpc=vpc,
        description="Workers: nothing in, only TLS out",
        allow_all_outbound=False,
    )
    group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS APIs and images")
    return [group]
