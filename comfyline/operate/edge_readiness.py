"""The preflight's check of what an edge needs before it is deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from comfyline.operate.edge_secret import parameter_name
from comfyline.operate.plan import Plan

REGION = "us-east-1"  # from which CloudFront takes certificates and web ACLs
BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"


def faults_of_edge(clients: Callable[..., Any], plan: Plan) -> Iterator[str]:
    """Why the edge of a deployment file cannot be deployed, each with what to do.

    `clients` makes the client of a service, in the region that it is given or in the deployment's.

    Raises:
        ClientError: AWS refuses to answer.
    """
    yield from _missing_secrets(clients("ssm"), plan)
    yield from _faults_of_certificate(clients("acm", REGION), plan)
    if plan.has_web_acl and not _exists(clients("ssm", REGION), BOOTSTRAP_PARAMETER):
        yield f"{REGION} is not bootstrapped for the web ACL's stack: bootstrap that region too"


def _missing_secrets(ssm: Any, plan: Plan) -> Iterator[str]:
    name, newest = parameter_name(plan.stage), plan.edge_secret_version
    for version in range(max(1, newest - 1), newest + 1):
        if not _exists(ssm, f"{name}:{version}"):
            command = f"comfyline admin --stage {plan.stage} edge-secret"
            yield f"{name} has no version {version}: {command} makes the next one"


def _exists(ssm: Any, name: str) -> bool:
    try:
        ssm.get_parameter(Name=name)
    except (ssm.exceptions.ParameterNotFound, ssm.exceptions.ParameterVersionNotFound):
        return False
    return True


def _faults_of_certificate(acm: Any, plan: Plan) -> Iterator[str]:
    try:
        answer = acm.describe_certificate(CertificateArn=plan.edge_certificate)
    except acm.exceptions.ResourceNotFoundException:
        yield f"there is no certificate {plan.edge_certificate}: request one in {REGION}"
        return
    found, domain = answer["Certificate"], plan.edge_domain or ""
    names = {found["DomainName"], *found.get("SubjectAlternativeNames", ())}
    if not names & {domain, f"*.{domain.partition('.')[2]}"}:
        yield f"the certificate is for {', '.join(sorted(names))}: request one for {domain}"
    if found["Status"] != "ISSUED":
        yield f"the certificate is {found['Status']}: make the DNS entry that ACM asks for"
