"""The warm pool: stopped on-demand instances whose disks have the worker's image and models.

    launch ──> boot ──> pull the image, fetch the models ──> stopped: only its disk is paid
                                                                │ a worker is ordered
                                   in service <── boot <────────┘

At each boot a script runs before the ECS agent starts. A lifecycle hook holds the instance until
the script says that it may go on. ECS_WARM_POOLS_CHECK keeps the agent from registering an instance
with the cluster that is about to be stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aws_cdk import ArnFormat, Aws, Duration, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_iam as iam
from constructs import Construct

from comfyline.service.storage_names import MODELS_PREFIX
from infra.constructs.image import repository_arns
from infra.constructs.role import policy
from infra.deployment import Deployment
from infra.grants import PULL_IMAGE, Resource, may
from infra.key_grants import key_grants

HOOK = "prepare"
# For image and models, at 100 MB/s some 180 GB. Without an answer by then the instance goes on, and
# its worker fetches what is missing.
PREPARE_SECONDS = 30 * 60
# Some minutes less, so that the script can still answer.
TRY_SECONDS = 25 * 60

_GRANTS = (
    *PULL_IMAGE,
    may("FetchModel", Resource.MODELS, "s3:GetObject"),
    may("LeaveWarmPool", Resource.GROUP, "autoscaling:CompleteLifecycleAction"),
)


def add_warm_pool(group: autoscaling.AutoScalingGroup, size: int) -> None:
    """Keep `size` stopped instances beside those of the group."""
    hook = group.add_lifecycle_hook(
        "Prepare",
        lifecycle_hook_name=HOOK,
        lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_LAUNCHING,
        heartbeat_timeout=Duration.seconds(PREPARE_SECONDS),
        default_result=autoscaling.DefaultResult.CONTINUE,
    )
    pool = group.add_warm_pool(
        # Only if both are the same, the pool has this size. Otherwise it has as many instances as
        # the group lacks to its maximum. ECS allows no return to the pool.
        min_size=size,
        max_group_prepared_capacity=size,
        pool_state=autoscaling.PoolState.STOPPED,
    )
    pool.node.add_dependency(hook)  # or the first instances would be stopped unprepared


def warm_pool_policy(
    scope: Construct, deployment: Deployment, bucket: str, group_name: str
) -> iam.PolicyDocument:
    """What an instance may do to prepare itself: read image and models, and answer the hook."""
    stack = Stack.of(scope)
    group = stack.format_arn(
        service="autoscaling",
        resource="autoScalingGroup",
        resource_name=f"*:autoScalingGroupName/{group_name}",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    key = deployment.encryption.key_arn
    arns = {
        Resource.IMAGE: repository_arns(stack, deployment.worker.image),
        Resource.ANY: ["*"],
        Resource.MODELS: [f"arn:{Aws.PARTITION}:s3:::{bucket}/{MODELS_PREFIX}*"],
        Resource.GROUP: [group],
        Resource.KEY: [key] if key else [],
    }
    return policy((*_GRANTS, *key_grants(_GRANTS)), arns)


def prepare(deployment: Deployment, bucket: str, group_name: str, folder: str) -> Iterator[str]:
    """The commands that prepare an instance at its boot, and let it go on in any case."""
    image = deployment.worker.image
    yield from (
        "metadata=http://169.254.169.254/latest",
        "token=$(curl -sSf --retry 5 -X PUT "
        "-H 'X-aws-ec2-metadata-token-ttl-seconds: 3600' $metadata/api/token)",
        'get() { curl -sSf --retry 5 -H "X-aws-ec2-metadata-token: $token" '
        "$metadata/meta-data/$1; }",
        "export HOME=/root AWS_DEFAULT_REGION=$(get placement/region)",
        "command -v aws > /dev/null || dnf install --assumeyes --quiet awscli-2",
        "prepare() {",
        *(f"  {command}" for command in _log_in(image)),
        f"  docker pull --quiet {image}",
        "  docker run --rm --network host --read-only --tmpfs /tmp"
        f" --volume {folder}:/models --env MODELS_BUCKET={bucket}"
        " --env AWS_DEFAULT_REGION --entrypoint /opt/worker/bin/python"
        f" {image} -m gpu_worker.fetch_models",
        "}",
        "export -f prepare",
        'if [[ "$(get autoscaling/target-lifecycle-state)" == Warmed:* ]]; then',
        f"  timeout {TRY_SECONDS} bash -ec prepare || echo 'the instance is not prepared' >&2",
        "fi",
        "aws autoscaling complete-lifecycle-action"
        f" --auto-scaling-group-name {group_name} --lifecycle-hook-name {HOOK}"
        " --instance-id $(get instance-id) --lifecycle-action-result CONTINUE || true",
    )


def _log_in(image: str) -> Sequence[str]:
    registry = image.partition("/")[0]
    if ".dkr.ecr." not in registry:
        return ()
    return (
        f"aws ecr get-login-password | docker login --username AWS --password-stdin {registry}",
    )
