"""The findings of four linters in the templates, and the reason why each of them may stay.

The reasons are here and not beside the constructs: cdk-nag accepts only the exact text of a
finding, which contains logical ids of other stacks, and the others know nothing of constructs.
Tests check that every finding has a reason and that every reason has a finding.

The keys are regular expressions, which match rule and path of a finding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Finding(NamedTuple):
    """A rule, and the path of the construct, or the logical id of the resource, that breaks it."""

    rule: str
    path: str


Reasons = Mapping[tuple[str, str], str]


def reasons_for(finding: Finding, reasons: Reasons) -> list[str]:
    """Why the finding may stay. It may not if there is no reason."""
    return [
        why
        for (rule, path), why in reasons.items()
        if re.fullmatch(rule, finding.rule) and re.fullmatch(path, finding.path)
    ]


_OWN_KEY = (
    "encrypted with AWS's own key, which is free; encryption.key_arn names a key of the account"
)

_FILLER = r"Custom::CDKBucketDeployment\w+"
_FILLS_CONSOLE = (
    "written by the CDK: it runs in deployments only, and copies the console's files from the "
    "bootstrap's bucket to the edge's"
)

_FUNCTION = r"[a-z0-9-]+-(api|scaler)/\w+/Function/Resource"
_FUNCTION_ROLE = r"[a-z0-9-]+-(api|scaler)/\w+/Role/Resource"

CDK_NAG: Reasons = {
    # --- data ---
    (r"AwsSolutions-S1", r".*-data/Artifacts/Resource"): (
        "access logs would need a second bucket that outlives this one; the account can switch on "
        "CloudTrail's data events instead"
    ),
    (
        r"(AwsSolutions-SQS3|Serverless-SQSRedrivePolicy)",
        r".*-(data/DeadLetters|api/Parking)/Resource",
    ): "this queue is itself a dead-letter queue",
    # --- APIs ---
    (r"AwsSolutions-APIG4", r".*-api/WebSocket/Api/\$?\w+-Route/Resource"): (
        "a socket is authorized once, at $connect; API Gateway has no authorizer for other routes"
    ),
    (
        r"AwsSolutions-APIG4",
        r".*-api/Http/Api/(DefaultRoute|GET--|GET--api--v1--sign-in|GET--(healthz|\w+api\.json)|(GET|HEAD)--(docs|console)(--\{file\})?)\w*/Resource",
    ): "open on purpose: the answer contains nothing about any job",
    (
        r"AwsSolutions-APIG4",
        r".*-api/Http/Api/(\w+--api--v1--sessions(--\w+)?|(GET|HEAD)--api--v1--jobs--\{job_id\}--artifacts--\{number\})/Resource",
    ): "the function finds the caller, because an authorizer's identity source is one header",
    (r"(AwsSolutions-APIG1|Serverless-APIGWAccessLogging)", r".*-api/WebSocket/Stage/Resource"): (
        "API Gateway accepts one for WebSockets only if the account has a logging role, which is "
        "not for one deployment to set; the functions log every message"
    ),
    (r"(AwsSolutions-APIG1|Serverless-APIGWAccessLogging)", r".*-api/Http/Stage/Resource"): (
        "api.access_log is false: the deployment does without"
    ),
    # --- functions ---
    (r"(AwsSolutions-L1|Serverless-LambdaLatestVersion)", _FUNCTION): (
        "the runtime changes together with the locked wheels, not whenever a newer one exists"
    ),
    (r"Serverless-LambdaTracing", _FUNCTION): (
        "Lambda traces the first call of each second, which would double the price of a job; "
        "observability.tracing switches it on"
    ),
    (r"Serverless-LambdaDLQ", _FUNCTION): (
        "called synchronously by API Gateway, or by a stream or a queue that keeps what fails; a "
        "call by a schedule or another function is not retried, because its reason is then over"
    ),
    (
        r"Serverless-LambdaAsyncFailureDestination",
        r".*/(ScaleWorkers|SweepJobs|SocketSubscribe|PushChunk)/Function/.*",
    ): "the next minute's round makes up for a lost call; a live update is stale by then",
    (r"Serverless-LambdaEventSourceMappingDestination", r".*-api/PushUpdates/Function/.*"): (
        "live updates are best effort: a client that receives nothing polls"
    ),
    (
        r"Serverless-LambdaEventSourceMappingDestination",
        r".*-api/(RedriveTickets|SettleJobs)/Function/.*",
    ): "a record that it cannot process stays in the queue or in the stream",
    (r"(AwsSolutions-IAM5\[Resource::\*\]|Serverless-LambdaStarPermissions)", _FUNCTION_ROLE): (
        "X-Ray and ListStreams support no resource; see WILDCARD_REASONS"
    ),
    (
        r"AwsSolutions-IAM5\[Resource::.*/(jobs|uploads|models)/\*\]",
        r".*-(api/\w+/Role|worker/TaskRole|fleet/InstanceRole)/Resource",
    ): "the key of a file is made together with the file",
    (r"AwsSolutions-IAM5\[Resource::.*:alarm:\*\]", r".*-api/ReadFleet/Role/Resource"): (
        "CloudWatch checks a search of alarms by the prefix of their names against all alarms"
    ),
    (r"AwsSolutions-IAM5\[Resource::.*/@connections/\*\]", r".*-api/\w+/Role/Resource"): (
        "API Gateway makes the id of a connection when it opens"
    ),
    (
        r"AwsSolutions-IAM5\[Resource::<\w+\.Arn>:\*\]",
        r".*-(api|scaler)/SchedulerRoleForTarget-\w+/DefaultPolicy/Resource",
    ): "written by the CDK: any version of the one function that the schedule calls",
    (r"Serverless-EventBusDLQ", r".*-scaler/CountCrashesOfTheFleet/Resource"): (
        "an event that is lost makes a count smaller by one, and each crash is an event"
    ),
    # --- worker and fleet ---
    (r"AwsSolutions-IAM5\[Resource::\*\]", r".*-worker/ExecutionRole/Resource"): (
        "GetAuthorizationToken supports no resource"
    ),
    (r"AwsSolutions-IAM5\[Resource::.*:task/[a-z0-9-]+/\*\]", r".*-worker/TaskRole/Resource"): (
        "ECS makes the id of a task when it starts the task"
    ),
    (r"AwsSolutions-ECS2", r".*-worker/Worker/Resource"): (
        "the variables name tables, queues and the bucket, and contain no secret"
    ),
    (r"AwsSolutions-VPC7", r".*-fleet/Network/Resource"): (
        "flow logs cost by the gigabyte; nothing can come in, and only TLS goes out"
    ),
    (r"AwsSolutions-ECS4", r".*-fleet/Cluster/Resource"): (
        "Container Insights costs money when idle; observability.container_insights enables it"
    ),
    (
        r"AwsSolutions-IAM4\[Policy::.*AmazonECSInfrastructureRolePolicyForManagedInstances\]",
        r".*-fleet/(Spot/SpotRole|OnDemand/OnDemandRole)/Resource",
    ): "AWS's own policy for the actions of ECS in the account",
    (
        r"AwsSolutions-IAM5\[(Resource::\*|Resource::.*:container-instance/\*|Action::ecs:Submit\*)\]",
        r".*-fleet/(Spot/|OnDemand/)?InstanceRole/(DefaultPolicy/)?Resource",
    ): "written by the CDK: what an ECS agent does before it has an id, limited to the cluster",
    (
        r"AwsSolutions-IAM5\[Resource::.*:autoScalingGroup:\*:.*\]",
        r".*-fleet/InstanceRole/Resource",
    ): "Auto Scaling makes an id for the group; its name is whole",
    (r"AwsSolutions-AS3", r".*-fleet/(OnDemand|Spot)/ASG"): (
        "ECS resizes the group many times a day; the alarms watch jobs, not instances"
    ),
    (r"AwsSolutions-EC26", r".*-fleet/(OnDemand|Spot)/ASG"): (
        "the volume is encrypted; the rule does not read launch templates"
    ),
    # --- edge ---
    (r"AwsSolutions-S1", r".*-edge/ConsoleFiles/Bucket/Resource"): (
        "only the distribution reads these files, which every caller may read"
    ),
    (r"AwsSolutions-CFR1", r".*-edge/Distribution/Resource"): "callers may be in any country",
    (r"AwsSolutions-CFR3", r".*-edge/Distribution/Resource"): (
        "the API logs each request, and a web ACL counts what it refuses; a log of CloudFront "
        "would have to be stored"
    ),
    (
        r"(AwsSolutions-(L1|IAM[45]\[.*\])|Serverless-Lambda(DLQ|LatestVersion|Tracing))",
        rf".*-edge/{_FILLER}/.*",
    ): _FILLS_CONSOLE,
    # --- observability ---
    (r"Serverless-SNSRedrivePolicy", r".*-observability/Alarms/.+/Resource"): (
        "if a mail is lost, the alarm still shows its state, and its end is mailed too"
    ),
}

# cfn-lint has no paths: these rules are switched off.
CFN_LINT: Mapping[str, str] = {
    "W3005": "the CDK writes dependencies that a reference already implies",
    "W3045": "the CDK writes a default of IAM",
    "W3010": "the deployment file chooses zones by name, because not every zone has GPUs",
}

# The paths are "<part of the deployment>/<logical id without its hash>".
PARLIAMENT: Reasons = {
    (r"UNKNOWN_ACTION", r"fleet/(OnDemand|Spot)InstanceRole"): (
        "the linter's list of actions is older than ecs:PutSystemLogEvents, which the CDK writes"
    ),
    (r"RESOURCE_STAR", r"fleet/InstanceRoleDefaultPolicy"): (
        "written by the CDK: an ECS agent has no id yet, and the tasks name the log groups"
    ),
    (r"RESOURCE_MISMATCH", r"edge/CustomCDKBucketDeployment\w+"): _FILLS_CONSOLE,
}

CHECKOV: Reasons = {
    (r"CKV_AWS_(27|158|26)", r"(data|api|observability|worker|scaler|edge)/.*"): _OWN_KEY,
    (r"CKV_AWS_136", r"data/WorkerImages"): (
        "ECR cannot change the key of a repository later; the images hold no data of callers"
    ),
    (r"CKV_AWS_65", r"fleet/Cluster"): (
        "Container Insights costs money when idle; observability.container_insights enables it"
    ),
    (r"CKV_AWS_165", r"(data/(Connections|Jobs|Keys|Owners)|scaler/Scaling)"): (
        "sockets and the needs of the last minutes are not worth a backup; the stage dev, unlike "
        "every other, loses its data with its stacks"
    ),
    (r"CKV_AWS_18", r"data/Artifacts"): (
        "a log bucket would outlive this one; the account can switch on CloudTrail's data events"
    ),
    (r"CKV_AWS_21", r"data/Artifacts"): (
        "no file is ever changed, and a file that is deleted must be gone"
    ),
    (r"CKV_AWS_116", r"(api|scaler)/\w+Function"): (
        "called synchronously, or by a stream or a queue that keeps what fails; a lost call by a "
        "schedule or another function is made up for by the next one"
    ),
    (r"CKV_AWS_117", r"(api|scaler)/\w+Function"): (
        "functions call AWS only; in a network they would need NAT or endpoints, billed by the hour"
    ),
    (r"CKV_AWS_115", r"(api|scaler)/\w+Function"): (
        "a reservation takes calls away from all others, so only authorizers and rounds have one"
    ),
    (r"CKV_AWS_173", r"(api|scaler)/\w+Function"): (
        "the variables name resources; the secret of the edge, which the authorizers have, also "
        "stands in the distribution, and opens nothing without a key"
    ),
    (r"CKV_AWS_(115|116|117|173)", r"edge/CustomCDKBucketDeployment\w+"): _FILLS_CONSOLE,
    (r"CKV_AWS_(18|21)", r"edge/ConsoleFilesBucket"): (
        "every caller may read these files, and each deployment can write them again"
    ),
    (r"CKV_AWS_86", r"edge/Distribution"): (
        "the API logs each request; a log of CloudFront would have to be stored"
    ),
    (r"CKV_AWS_192", r"firewall/WebAcl"): "the rule asks for protection of Log4j; this is no Java",
    (r"CKV_AWS_95", r"api/WebSocketStage"): (
        "needs a logging role of the whole account, which is not for one deployment to set"
    ),
    (r"CKV_AWS_95", r"api/HttpStage"): "api.access_log is false: the deployment does without",
    (r"CKV_AWS_111", r"fleet/InstanceRoleDefaultPolicy"): (
        "written by the CDK: what an ECS agent does before it has an id, limited to the cluster"
    ),
}
