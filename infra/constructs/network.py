"""The workers' network: public addresses, no way in, and no part that costs anything when idle.

NAT and interface endpoints are billed by the hour, and instances with public addresses need
neither. The security group keeps everything out: it has no rule for incoming traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

# The most that the CDK can name without an account. Each further zone would be one more spot pool.
ZONES = 2


@dataclass(frozen=True, slots=True)
class WorkerNetwork:
    """The network and the security group of the workers' instances."""

    vpc: ec2.Vpc
    security_group: ec2.SecurityGroup


def worker_network(scope: Construct) -> WorkerNetwork:
    """A network with gateway endpoints, so that traffic to S3 and DynamoDB stays within AWS."""
    vpc = ec2.Vpc(
        scope,
        "Network",
        max_azs=ZONES,
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
    security_group = ec2.SecurityGroup(
        scope,
        "WorkerGroup",
        vpc=vpc,
        description="Workers: nothing in, only TLS out",
        allow_all_outbound=False,
    )
    security_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS APIs and images")
    return WorkerNetwork(vpc, security_group)
