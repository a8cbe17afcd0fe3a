"""Roles with the grants that the rows declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.grants import Grant, Resource

Arns = Mapping[Resource, Sequence[str]]


def role(
    scope: Construct,
    name: str,
    service: str,
    grants: Iterable[Grant],
    arns: Arns,
    *,
    description: str,
) -> iam.IRole:
    """A role of that AWS service with one statement for each grant that has an ARN here.

    It is closed: the CDK cannot add to it on behalf of other constructs, so the grants are the
    whole truth. The policy is inside the role and not beside it: Lambda checks the role when it
    makes an event source mapping, and only an inline policy is certain to exist by then.

    Raises:
        KeyError: `arns` lacks a resource that a grant is for.
    """
    made = iam.Role(
        scope,
        name,
        description=description,
        assumed_by=iam.ServicePrincipal(f"{service}.amazonaws.com"),
        inline_policies={"Grants": policy(grants, arns)},
    )
    return made.without_policy_updates()


def policy(grants: Iterable[Grant], arns: Arns) -> iam.PolicyDocument:
    """One statement for each grant that has an ARN here.

    Raises:
        KeyError: `arns` lacks a resource that a grant is for.
    """
    statements = [_statement(grant, arns) for grant in grants if arns[grant.resource]]
    return iam.PolicyDocument(statements=statements)


def _statement(grant: Grant, arns: Arns) -> iam.PolicyStatement:
    conditions: dict[str, Mapping[str, str | list[str]]] = {}
    if grant.partition_keys:
        keys = grant.partition_keys
        patterns = keys if isinstance(keys, str) else list(keys)
        conditions["ForAllValues:StringLike"] = {"dynamodb:LeadingKeys": patterns}
    if grant.via:
        service = f"{grant.via}.{Aws.REGION}.{Aws.URL_SUFFIX}"
        conditions["StringEquals"] = {"kms:ViaService": service}
    return iam.PolicyStatement(
        sid=grant.purpose,
        actions=list(grant.actions),
        resources=list(arns[grant.resource]),
        conditions=conditions,
    )
