"""Grants as IAM writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aws_cdk import aws_iam as iam

from infra.grants import Grant, Resource

Arns = Mapping[Resource, Sequence[str]]


def policy(grants: Iterable[Grant], arns: Arns) -> iam.PolicyDocument:
    """One statement for each grant.

    Raises:
        KeyError: `arns` lacks a resource that a grant is for.
    """
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                sid=grant.purpose, actions=list(grant.actions), resources=list(arns[grant.resource])
            )
            for grant in grants
        ]
    )
