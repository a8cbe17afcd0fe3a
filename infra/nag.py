"""What cdk-nag finds in the stacks, and why each finding may stay.

The reasons are here and not beside the constructs: cdk-nag takes only the exact text of a finding,
in which other stacks' logical ids stand. A test asks that every finding has a reason and that every
reason has a finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

REPORT = "validation-report.json"


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that something breaks."""

    rule: str
    path: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why findings of a rule at these paths may stay; both are regular expressions."""

    rule: str
    path: str
    why: str

    def covers(self, finding: Finding) -> bool:
        """Whether this is the reason for that finding."""
        return bool(re.fullmatch(self.rule, finding.rule) and re.fullmatch(self.path, finding.path))


def findings(app: App) -> list[Finding]:
    """Synthesise the app under the packs AwsSolutions and Serverless; what they find."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    with suppress(RuntimeError):  # it ends so whenever there are findings, after the report
        app.synth()
    return list(_reported(Path(app.outdir, REPORT)))


def _reported(report: Path) -> Iterator[Finding]:
    for plugin in json.loads(report.read_text())["pluginReports"]:
        for violation in plugin["violations"]:
            for construct in violation["violatingConstructs"]:
                yield Finding(violation["ruleName"], construct["constructPath"])


def without_reason(found: Sequence[Finding]) -> list[Finding]:
    """The findings that nothing here explains."""
    return [finding for finding in found if not any(r.covers(finding) for r in REASONS)]


_FUNCTION = r"[a-z0-9-]+-(api|scaler)/\w+/Function/Resource"
_FUNCTION_ROLE = r"[a-z0-9-]+-(api|scaler)/\w+/Role/Resource"

REASONS = (
    # --- data ---
    Reason(
        r"AwsSolutions-S1",
        r".*-data/Artifacts/Resource",
        "access logs would need a second bucket that outlives this one; CloudTrail's data events "
        "are the account's to switch on",
    ),
    Reason(
        r"(AwsSolutions-SQS3|Serverless-SQSRedrivePolicy)",
        r".*-(data/DeadLetters|api/UndeliveredUpdates)/Resource",
        "it is a dead-letter queue itself",
    ),
    # --- APIs ---
    Reason(
        r"AwsSolutions-APIG4",
        r".*-api/WebSocket/Api/\$?\w+-Route/Resource",
        "a socket is authorized once, at $connect; API Gateway has no authorizer for other routes",
    ),
    Reason(
        r"AwsSolutions-APIG4",
        r".*-api/Http/Api/(DefaultRoute|GET--(healthz|openapi\.json|docs)\w*)/Resource",
        "open to everyone on purpose: it says nothing about any job",
    ),
    Reason(
        r"(AwsSolutions-APIG1|Serverless-APIGWAccessLogging)",
        r".*-api/WebSocket/Stage/Resource",
        "API Gateway takes one for WebSockets only where the account has a logging role, which is "
        "not this deployment's to set; the functions log every message",
    ),
    # --- functions ---
    Reason(
        r"(AwsSolutions-L1|Serverless-LambdaLatestVersion)",
        _FUNCTION,
        "the runtime is raised with the lock's wheels, not by the newest name",
    ),
    Reason(
        r"Serverless-LambdaTracing",
        _FUNCTION,
        "traced unless the deployment says `-c tracing=false`: the first call of each second is",
    ),
    Reason(
        r"Serverless-LambdaDLQ",
        _FUNCTION,
        "called synchronously by API Gateway, by a stream with its own destination, or by a "
        "schedule whose next minute is the retry",
    ),
    Reason(
        r"Serverless-LambdaEventSourceMappingDestination",
        r".*-scaler/ScaleWorkers/Function/.*",
        "a wake-up that is lost is made up for by the next minute's round",
    ),
    Reason(
        r"Serverless-LambdaEventSourceMappingDestination",
        r".*-api/RedriveTickets/Function/.*",
        "what it cannot settle stays in the dead-letter queue",
    ),
    Reason(
        r"(AwsSolutions-IAM5\[Resource::\*\]|Serverless-LambdaStarPermissions)",
        _FUNCTION_ROLE,
        "X-Ray, ListStreams and GetMetricData support no resource; see WILDCARD_REASONS",
    ),
    Reason(
        r"AwsSolutions-IAM5\[Resource::.*/(jobs|uploads|models)/\*\]",
        r".*-(api/\w+/Role|worker/TaskRole)/Resource",
        "each file's key is made when the file is",
    ),
    Reason(
        r"AwsSolutions-IAM5\[Resource::.*/@connections/\*\]",
        r".*-api/\w+/Role/Resource",
        "the gateway makes a connection's id when it opens",
    ),
    Reason(
        r"AwsSolutions-IAM5\[Resource::<\w+\.Arn>:\*\]",
        r".*-(api|scaler)/SchedulerRoleForTarget-\w+/DefaultPolicy/Resource",
        "CDK's own: any version of the one function that the schedule calls",
    ),
    # --- worker and fleet ---
    Reason(
        r"AwsSolutions-IAM5\[Resource::\*\]",
        r".*-worker/ExecutionRole/Resource",
        "GetAuthorizationToken supports no resource",
    ),
    Reason(
        r"AwsSolutions-IAM5\[Resource::.*:task/[a-z0-9-]+/\*\]",
        r".*-worker/TaskRole/Resource",
        "ECS makes a task's id when it starts the task",
    ),
    Reason(
        r"AwsSolutions-ECS2",
        r".*-worker/Worker/Resource",
        "names of tables, queues and the bucket; there is no secret among them",
    ),
    Reason(
        r"AwsSolutions-VPC7",
        r".*-fleet/Network/Resource",
        "flow logs are paid for by the gigabyte; nothing can come in, and only TLS goes out",
    ),
    Reason(
        r"AwsSolutions-ECS4",
        r".*-fleet/Cluster/Resource",
        "Container Insights is paid for when idle; the context key container_insights has it",
    ),
    Reason(
        r"AwsSolutions-IAM4\[Policy::.*AmazonECSInfrastructureRolePolicyForManagedInstances\]",
        r".*-fleet/(Spot/SpotRole|OnDemand/OnDemandRole)/Resource",
        "AWS's own policy for what ECS does in the account on its behalf",
    ),
    Reason(
        r"AwsSolutions-IAM5\[(Resource::\*|Resource::.*:container-instance/\*|Action::ecs:Submit\*)\]",
        r".*-fleet/(Spot/|OnDemand/)?InstanceRole/(DefaultPolicy/)?Resource",
        "CDK's own: what an ECS agent must do before it has an id, limited to the cluster",
    ),
    Reason(
        r"AwsSolutions-AS3",
        r".*-fleet/Instances/ASG",
        "ECS moves the group many times a day; alarms are on jobs, not on instances",
    ),
    Reason(
        r"AwsSolutions-EC26",
        r".*-fleet/Instances/ASG",
        "the volume is encrypted; the rule does not look into launch templates",
    ),
    # --- observability ---
    Reason(
        r"Serverless-SNSRedrivePolicy",
        r".*-observability/Alarms/.+/Resource",
        "a mail that is lost is followed by the alarm's own state, and by its end",
    ),
)
