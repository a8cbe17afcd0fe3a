"""Custom domains for the two APIs."""

from __future__ import annotations

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_apigatewayv2 as gw
from aws_cdk import aws_certificatemanager as acm

from infra.deployment import Deployment


def custom_domains(
    stack: Stack, deployment: Deployment
) -> tuple[gw.DomainName | None, gw.DomainName | None]:
    """The domains of the HTTP API and of the WebSocket API, or None for both.

    The stack changes no DNS zone. Its outputs hold the targets to which the two names must point.
    """
    api = deployment.api
    if api.domain is None or api.socket_domain is None or api.certificate_arn is None:
        return None, None  # they are given together or not at all
    certificate = acm.Certificate.from_certificate_arn(stack, "Certificate", api.certificate_arn)
    return (
        _domain(stack, "ApiDomain", api.domain, certificate),
        _domain(stack, "SocketDomain", api.socket_domain, certificate),
    )


def _domain(stack: Stack, name: str, host: str, certificate: acm.ICertificate) -> gw.DomainName:
    domain = gw.DomainName(
        stack,
        name,
        domain_name=host,
        certificate=certificate,
        security_policy=gw.SecurityPolicy.TLS_1_2,
    )
    CfnOutput(
        stack,
        f"{name}Target",
        value=domain.regional_domain_name,
        description=f"Target to which the DNS entry of {host} must point",
    )
    return domain
