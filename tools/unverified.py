"""What no emulator shows: each fact with what verifies it in an account.

tools/verify_aws.py runs the checks. `python -m tools.unverified` writes the table into
docs/deploy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.marked import replaced

PAGE = Path(__file__).resolve().parents[1] / "docs" / "deploy.md"
BEGIN = "<!-- The table is made from tools/unverified.py by `make docs`. -->"
END = "<!-- End of the facts. -->"

BOOT_SECONDS = 900  # of the first worker: instance, image and models
MEMORY_MIB = 13 * 1024  # that a task asks for
SPOT_JOBS, DEPLOY_JOBS = 40, 60
RETIRE_SECONDS, END_SECONDS = 600, 1800


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. `check` is a check of `make verify-aws`, or says what to do by hand."""

    unverified: str
    check: str
    expected: str


STACKS = Fact(
    "the stacks deploy in their order, and read each other's outputs",
    "first-deploy",
    "six stacks are complete",
)
SERVICES = Fact(
    "a deployment starts no GPU, and each service has a capacity of its own",
    "first-deploy",
    "ondemand and spot have one capacity provider each",
)
ZONES = Fact(
    "zone rebalancing stays off for Managed Instances", "first-deploy", "DISABLED for both services"
)
BOOT = Fact(
    "GPUs can be had, and boot with a public address in host mode; the image builds and runs: file "
    "capabilities, volumes of users 10001 and 10002 under Bottlerocket's SELinux",
    "first-job",
    f"the first job succeeds within {BOOT_SECONDS} s (enter the time as scaling.boot_seconds)",
)
HOSTS = Fact(
    "signed URLs name the bucket's host in the region",
    "first-job",
    "<bucket>.s3.<region>.amazonaws.com",
)
MEMORY = Fact(
    "the smallest instance registers enough memory with ECS",
    "first-job",
    f"at least {MEMORY_MIB} MiB",
)
SPOT = Fact(
    "spot workers are ordered beside on-demand ones",
    "spot-loss",
    f"{SPOT_JOBS} jobs order a spot worker",
)
SPOT_LOSS = Fact(
    "the jobs of an instance that ends run again",
    "spot-loss",
    f"all {SPOT_JOBS} jobs succeed after a spot instance was ended",
)
RETIREMENT = Fact(
    "ECS's metadata has the task's family and revision in host mode, so old workers retire",
    "deploy-under-load",
    f"old tasks end within {RETIRE_SECONDS} s",
)
PROTECTION = Fact(
    "protected tasks outlive a deployment",
    "deploy-under-load",
    f"all {DEPLOY_JOBS} jobs succeed",
)
END_OF_FLEET = Fact(
    "instances end after the quiet time",
    "teardown",
    f"no container instance within {END_SECONDS} s",
)
EDGE_SERVES = Fact(
    "CloudFront serves health, documents and console under `edge.domain`, the console with its "
    "policy",
    "edge",
    "200 for each path, and a Content-Security-Policy",
)
EDGE_SOCKET = Fact(
    "CloudFront passes the handshake of a WebSocket at `/live` on to the stage `live`",
    "edge",
    "a socket answers a ping with a pong",
)
EDGE_ROUND = Fact(
    "API Gateway refuses requests without the edge's header by its identity sources, `$default` "
    "and sockets included",
    "edge",
    "401 or 403 for each",
)

FACTS = (
    *(STACKS, SERVICES, ZONES, BOOT, HOSTS, MEMORY, SPOT, SPOT_LOSS, RETIREMENT, PROTECTION),
    *(END_OF_FLEET, EDGE_SERVES, EDGE_SOCKET, EDGE_ROUND),
    Fact(
        "the edge's secret rotates without an outage; CloudFormation resolves the parameter in the "
        "distribution's headers",
        "by hand: `comfyline admin edge-secret`, then deploy, with `make load` on `edge.domain` "
        "meanwhile",
        "no answer with status 401, 403 or above 499",
    ),
    Fact(
        "no error is cached at the edge, and cookies, `Authorization` and `Set-Cookie` pass",
        "by hand: read a job with the key of another owner, then at once with its own; sign in at "
        "the console",
        "404, then 200; the console shows its jobs",
    ),
    Fact(
        "`edge.web_acl`: the stacks read the web ACL of another region; common rules let large "
        "graphs through",
        "by hand: `edge` and `first-job` in a stage that has it, and a graph of 100 KB",
        "as above; 202",
    ),
    Fact(
        "people sign in at the real providers: Cognito, Entra, Okta; their claims are as "
        "docs/sign-in.md says, and pages may call their token endpoints",
        "by hand, in a stage with `sign_in`: sign in at the console, and send a token to "
        "`GET /api/v1/me`",
        "the console shows its jobs; the owner and the scopes that the rules give",
    ),
    Fact(
        "API Gateway hands cookies over apart from the headers, sets those of an answer, and "
        "passes `Origin` and `Sec-Fetch-Site` on",
        "by hand: sign in at the console, reload, and open a file's address",
        "the console shows its jobs; the file is shown",
    ),
    Fact(
        "the service-linked role of Managed Instances is `AWSServiceRoleForECSCompute`",
        "by hand: `comfyline admin preflight`",
        "made, or exists",
    ),
    Fact(
        "events of crashed tasks reach `CountCrashes`",
        "by hand: deploy an image that exits with 1",
        "alarm `workers-crash` within 15 minutes, one task at a time",
    ),
    Fact(
        "price limits are off: a dearer type is started where the cheapest cannot be had",
        "by hand, with a quota for one g6",
        "a g5 starts",
    ),
    Fact(
        "Managed Instances have a kernel with Landlock, which confines the engine",
        "by hand: read the worker's log",
        "no line `engine_not_confined`",
    ),
    Fact(
        '`fleet.capacity = "asg"`: firewall rules, the folder of models, draining on spot notices',
        "by hand: all checks in a stage with a group, then a second job on the same instance",
        "as above; the second worker logs `models_ready` with 0 fetched bytes",
    ),
    Fact(
        "`fleet.warm_pool`: a group with several instance types may have a warm pool, if all are "
        "on-demand; the agent waits with ECS_WARM_POOLS_CHECK; docker runs before the agent; image "
        "and models survive the stop; a stopped instance starts faster than a new one",
        "by hand: `first-job` in a stage with a pool of 1, once its instance is `Warmed:Stopped`; "
        "`/var/log/cloud-init-output.log` of the instance",
        "the worker logs `models_ready` with 0 fetched bytes; the seconds of docs/scaling.md",
    ),
    Fact(
        "`fleet.restore_mib_a_second`: EC2 takes the rate for a disk whose snapshot the AMI names",
        "by hand: `first-job` in a stage with an own AMI that has image and models",
        "the instance starts; the worker logs `models_ready` with 0 fetched bytes",
    ),
    Fact(
        "`encryption.key_arn`: the roles' permissions for the key suffice",
        "by hand: `first-job`, an upload and an alarm in a stage with a key",
        "as above; no `AccessDenied` in any log",
    ),
    Fact(
        "a team's own VPC, permissions boundary and custom domains",
        "by hand: `first-deploy` and `first-job` in a stage that has them",
        "as above",
    ),
    Fact(
        "cold starts with compiled code",
        "by hand: the `Init Duration` of `SubmitJob` in its log, with `functions.call_log = true`",
        "below 1 s",
    ),
    Fact(
        "`functions.snap_start`: processes are restored from snapshots, may be called through the "
        "alias, and have valid keys; files' URLs signed with those keys stay valid for their whole "
        "time",
        "by hand: `SubmitJob`'s log with `functions.call_log = true`, in a stage that has it, an "
        "hour after the deployment; a file's URL shortly before it expires",
        "a `Restore Duration` and no `Init Duration`; jobs are accepted; the file is there",
    ),
    Fact(
        "functions whose log is JSON with the system level WARN: Lambda leaves out its own lines "
        "about a call, and metrics still arrive (`functions.call_log = false`)",
        "by hand: the log of `SubmitJob` and the metric `JobsAccepted` after a post",
        "no line `platform.start` or `platform.report`; the metric has a value",
    ),
    Fact(
        "API Gateway's throttles and the account's quotas under load",
        "by hand: `make load` with the deployment's address",
        "no answer with status 500 or above",
    ),
)


def table() -> str:
    """Every fact as a row of a Markdown table."""
    rows = [f"| {fact.unverified} | {_check(fact)} | {fact.expected} |" for fact in FACTS]
    return "\n".join(["| not verified | check | expected |", "| --- | --- | --- |", *rows])


def _check(fact: Fact) -> str:
    return fact.check if fact.check.startswith("by hand") else f"`{fact.check}`"


def with_table(page: str) -> str:
    """The page with the current table between its two markers."""
    return replaced(page, BEGIN, table(), END)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
