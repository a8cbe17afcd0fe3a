"""What an account's platform team requires of every resource: tags, roles, logs, encryption."""

from __future__ import annotations

from aws_cdk import Names, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.encryption import encrypt
from infra.deployment import PROJECT, Deployment

MAX_ROLE_NAME = 64
LONGEST_REGION = len("-ap-southeast-1")


def add_tags(scope: Construct, deployment: Deployment) -> None:
    """Tag every resource, so that costs can be split by stage and by the team's own tags."""
    for name, value in {**deployment.tags, "project": PROJECT, "stage": deployment.stage}.items():
        Tags.of(scope).add(name, value)


def adapt(scope: Construct, deployment: Deployment) -> None:
    """Change roles, log groups and encryption as the deployment asks.

    Call it after all stacks are declared.
    """
    boundary = deployment.iam.permissions_boundary
    if boundary is not None:
        policy = iam.ManagedPolicy.from_managed_policy_arn(scope, "Boundary", boundary)
        iam.PermissionsBoundary.of(scope).apply(policy)
    key = deployment.encryption.key_arn
    if key is not None:
        encrypt(scope, key)
    prefix, days = deployment.iam.role_prefix, deployment.observability.log_days
    for construct in scope.node.find_all():
        if isinstance(construct, logs.CfnLogGroup):
            construct.retention_in_days = days
        if isinstance(construct, iam.CfnRole) and prefix is not None:
            _name(construct, prefix)


def _name(role: iam.CfnRole, prefix: str) -> None:
    """Name a role. Roles are global, so the name has the region, too."""
    if "InstanceRole" in role.node.path:
        return
    left = MAX_ROLE_NAME - len(prefix) - LONGEST_REGION
    own = Names.unique_resource_name(role, max_length=left, separator="-")
    role.role_name = f"{prefix}{own}-{Stack.of(role).region}"
