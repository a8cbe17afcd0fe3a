"""The workers' network: public addresses, no way in, and no part that costs anything when idle.

NAT and interface endpoints are paid by the hour. Instances with public addresses need neither; that
nothing can reach them is the security group's doing: it has no rule for what comes in, but for who
scrapes them where a deployment names somebody.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.scraping import Scraping

# As many as CDK can name without asking an account. More zones would be more spot pools.
ZONES = 2


@dataclass(frozen=True, slots=True)
class WorkerNetwork:
    """Where the workers' instances are."""

    vpc: ec2.Vpc
    security_group: ec2.SecurityGroup


def worker_network(scope: Construct, scraping: Scraping) -> WorkerNetwork:
    """A network with gateway endpoints: files and rows do not leave AWS's own."""
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
        restrict_default_security_group=False,  # nothing uses it, and the rule needs a function
    )
    security_group = ec2.SecurityGroup(
        scope,
        "WorkerGroup",
        vpc=vpc,
        description="Workers: nothing in but who scrapes them, only TLS out",
        allow_all_outbound=False,
    )
    security_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS APIs and images")
    if scraping.source is not None:
        peer = ec2.Peer.security_group_id if scraping.by_group else ec2.Peer.ipv4
        security_group.add_ingress_rule(
            peer(scraping.source), ec2.Port.tcp(scraping.port), "Prometheus"
        )
    return WorkerNetwork(vpc, security_group)
