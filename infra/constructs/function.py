"""A Lambda function of this project: its role can do what its grants name and nothing more."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from comfyline.service.settings import Settings
from infra.constructs.grants import EVERY_FUNCTION, Arns, Grant, Resource

# Lambda gives CPU by memory: below this, imports make a cold start slow; above it, the functions
# only wait for the network at a higher price.
MEMORY_MB = 512
_ARCHITECTURES = {
    "arm64": lambda_.Architecture.ARM_64,
    "x86_64": lambda_.Architecture.X86_64,
}
LOG_RETENTION = logs.RetentionDays.ONE_MONTH


class PythonFunction(Construct):
    """One function with its own role and its own log group.

    The role is closed: what else in the app asks CDK to widen it has no effect, so the table of
    grants is the whole truth.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        handler: str,
        code: lambda_.Code,
        settings: Settings,
        grants: Sequence[Grant],
        arns: Arns,
        timeout: Duration,
        architecture: str,
        tracing: bool,
        log_level: str,
    ) -> None:
        """`handler` is `<module>.<function>` in the package functions/."""
        super().__init__(scope, name)
        log_group = logs.LogGroup(
            self, "Logs", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        own_arns = {**arns, Resource.OWN_LOGS: [log_group.log_group_arn], Resource.ANY: ["*"]}
        self.role = _role(self, [*EVERY_FUNCTION, *grants], own_arns)
        module, _, _ = handler.partition(".")
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=_ARCHITECTURES[architecture],
            handler=f"functions.{handler}",
            code=code,
            memory_size=MEMORY_MB,
            timeout=timeout,
            role=self.role.without_policy_updates(),
            log_group=log_group,
            # Either way a trace has an id, by which lines are found.
            tracing=lambda_.Tracing.ACTIVE if tracing else lambda_.Tracing.PASS_THROUGH,
            environment={
                **settings.to_environment(),
                "POWERTOOLS_SERVICE_NAME": module,
                "LOG_LEVEL": log_level,
            },
        )


def _role(scope: Construct, grants: Sequence[Grant], arns: Arns) -> iam.Role:
    # Inline, not a policy beside the role: an event source mapping is checked against the role when
    # it is made, and only what is inside the role is sure to be there by then.
    policy = iam.PolicyDocument(statements=[grant.statement(arns) for grant in grants])
    return iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        inline_policies={"Grants": policy},
    )
