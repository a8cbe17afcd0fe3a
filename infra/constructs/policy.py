"""Grants as IAM writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aws_cdk import aws_iam as iam

from infra.grants import Grant, Resource

Arns = Mapping[Resource, Sequence[str]]


def policy(grants: Iterable[Grant], arns: Arns) -> iam.PolicyDocument:
    """One statement for each grant, except those for a resource that has no ARN here.

    Raises:
        KeyError: `arns` lacks a resource that a grant is for.
    """
    return iam.PolicyDocument(
        statements=[_statement(grant, arns) for grant in grants if arns[grant.resource]]
    )


def _statement(grant: Grant, arns: Arns) -> iam.PolicyStatement:
    keys = {"dynamodb:LeadingKeys": grant.partition_keys}
    return iam.PolicyStatement(
        sid=grant.purpose,
        actions=list(grant.actions),
        resources=list(arns[grant.resource]),
        conditions={"ForAllValues:StringLike": keys} if grant.partition_keys else None,
    )
