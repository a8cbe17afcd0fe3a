"""A Lambda function, made from its row. Its role has the grants of the row and no others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from comfyline.service.settings import Settings
from infra.concurrency import reserved
from infra.constructs.role import Arns, role
from infra.declarations import Function
from infra.deployment import Deployment
from infra.grants import EVERY_FUNCTION, Resource, emulated
from infra.key_grants import key_grants

# The shortest timeout on an emulator, in seconds. There the cold starts of a burst share a few
# cores, and a function that is ended for being slow only has to start again. Below the minute of
# the schedules, so that two rounds never overlap.
LOCAL_TIMEOUT = 50
LOG_RETENTION = logs.RetentionDays.ONE_MONTH
SNAPSHOTS = lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS
ALIAS = "live"  # of the version whose snapshot is called


class FunctionCode:
    """The code of the functions in one stack, from the assets of `code_assets`."""

    def __init__(self, assets: Mapping[str, Path]) -> None:
        # The CDK wants one object for each stack and asset, and uploads each asset once.
        self._codes = {
            folder: lambda_.Code.from_asset(str(asset), asset_hash=asset.name)
            for folder, asset in assets.items()
        }

    def of(self, row: Function) -> lambda_.Code:
        """The code of that function."""
        return self._codes[row.folder]


Values = Mapping[str, str]  # the values of settings' fields: names of resources and other facts


def python_function(
    scope: Construct,
    row: Function,
    *,
    deployment: Deployment,
    code: FunctionCode,
    values: Values,
    arns: Arns,
) -> lambda_.Function:
    """One function with its own log group and its own role, which has the grants of its row."""
    own = Construct(scope, row.name)
    log_group = logs.LogGroup(
        own, "Logs", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
    )
    grants = (*EVERY_FUNCTION, *row.grants)
    own_arns = {**arns, Resource.OWN_LOGS: [log_group.log_group_arn], Resource.ANY: ["*"]}
    return lambda_.Function(
        own,
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.custom(deployment.architecture),
        description=row.description,
        handler=f"functions.{row.handler}",
        code=code.of(row),
        memory_size=row.memory,
        reserved_concurrent_executions=reserved(row, deployment),
        timeout=Duration.seconds(
            max(row.timeout, LOCAL_TIMEOUT) if deployment.is_local else row.timeout
        ),
        role=role(
            own,
            "Role",
            "lambda",
            (*(map(emulated, grants) if deployment.is_local else grants), *key_grants(grants)),
            own_arns,
            description=f"Comfyline {row.name}: what the function may do",
        ),
        log_group=log_group,
        **_logging(deployment),
        snap_start=SNAPSHOTS if has_snapshot(row, deployment) else None,
        # Either way a trace has an id, by which log lines are found.
        tracing=lambda_.Tracing.ACTIVE
        if deployment.observability.tracing and row.is_traced
        else lambda_.Tracing.PASS_THROUGH,
        environment={
            **environment(*row.settings, values=values),
            "POWERTOOLS_SERVICE_NAME": row.module,
            "LOG_LEVEL": deployment.functions.log_level.upper(),
        },
    )


def has_snapshot(row: Function, deployment: Deployment) -> bool:
    """Whether processes of the function are restored from a snapshot, which no emulator does."""
    return deployment.functions.snap_start and row.is_called_by_gateway and not deployment.is_local


def called_as(
    row: Function, function: lambda_.Function, deployment: Deployment
) -> lambda_.IFunction:
    """What the callers of the function call: the function, or the alias of its newest version.

    Only versions have snapshots. The CDK publishes a new version with each change of code or
    configuration, and removes the old one, so that only one snapshot is paid for.
    """
    if not has_snapshot(row, deployment):
        return function
    return lambda_.Alias(
        function,
        "Alias",
        alias_name=ALIAS,
        version=function.current_version,
        description=f"Comfyline {row.name}: the version that API Gateway calls",
    )


def _logging(deployment: Deployment) -> dict[str, Any]:
    """The format and levels of a function's log.

    Lambda can leave out its own lines about each call only if its log is JSON. Ours is in any case.
    """
    if deployment.functions.call_log:
        return {"logging_format": lambda_.LoggingFormat.TEXT}
    own = deployment.functions.log_level.upper()
    return {
        "logging_format": lambda_.LoggingFormat.JSON,
        # Timeouts and crashes are warnings.
        "system_log_level_v2": lambda_.SystemLogLevel.WARN,
        # Metrics are lines without a level, which Lambda takes as INFO.
        "application_log_level_v2": lambda_.ApplicationLogLevel[own],
    }


def environment(*settings: type[Settings], values: Values) -> dict[str, str]:
    """The environment variables of a process with these settings.

    Raises:
        WrongEnvironment: `values` lacks a field that has no default.
    """
    known = {name.upper(): value for name, value in values.items()}
    variables = dict[str, str]()
    for group in settings:
        variables |= group.from_environment(known).to_environment()
    return variables
