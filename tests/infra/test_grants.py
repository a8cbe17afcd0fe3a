"""The permissions of each role."""

from __future__ import annotations

from typing import Any

import pytest

from comfyline.adapters.aws.access.slots import _key
from comfyline.contract.ids import OwnerId
from infra.grants import UNUSED_LOCALLY, WILDCARD_REASONS
from tests.infra.templates import Json, Templates, listed, plain_name, resources, statements

POSTS = {"SubmitJob", "Generate", "RetryJob", "SubmitComfyJob"}
# Roles that the CDK makes, and why their statements contain a wildcard.
CDK_REASONS = {"SchedulerRoleForTarget": "invokes any version of the one function it names"}


def ours(templates: Templates) -> list[Json]:
    """The templates with the roles of our code. Those of the instances come from the CDK."""
    return [templates.api, templates.worker, templates.scaler]


@pytest.fixture(scope="module")
def all_statements(aws: Templates) -> list[tuple[str, dict[str, Any]]]:
    return [s for template in ours(aws) for s in statements(template)]


def roles_that_may(aws: Templates, action: str) -> set[str]:
    return {
        plain_name(name).removesuffix("Role")
        for template in ours(aws)
        for name, statement in statements(template)
        if action in listed(statement["Action"])
    }


def test_every_wildcard_has_a_reason(
    aws: Templates, all_statements: list[tuple[str, dict[str, Any]]]
) -> None:
    for holder, statement in all_statements:
        if any("*" in aws.render(resource) for resource in listed(statement["Resource"])):
            known = statement.get("Sid") in WILDCARD_REASONS
            assert known or holder.startswith(tuple(CDK_REASONS)), statement


def test_every_reason_is_needed(
    aws: Templates, all_statements: list[tuple[str, dict[str, Any]]]
) -> None:
    wild = {
        statement.get("Sid")
        for _, statement in all_statements
        if any("*" in aws.render(resource) for resource in listed(statement["Resource"]))
    }
    assert set(WILDCARD_REASONS) <= wild


# The actions of the ECS agent before it has an id. The CDK writes them, limited to the cluster.
AGENT_REASONS = {
    "ecs:DiscoverPollEndpoint": "supports no resource",
    "ecs:Poll": "the instance's id is made when it registers",
    "ecs:StartTelemetrySession": "the instance's id is made when it registers",
    "ecs:PutSystemLogEvents": "the instance's id is made when it registers",
    "ecs:Submit*": "the agent's reports of states, of three kinds",
    "ecr:GetAuthorizationToken": "supports no resource",
    "autoscaling:CompleteLifecycleAction": "Auto Scaling makes an id for the group",
    "s3:GetObject": "the lock in the worker's image names the models",
    "logs:CreateLogStream": "the group is the task's to name",
    "logs:PutLogEvents": "the group is the task's to name",
}


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_every_wildcard_in_other_roles_has_a_reason(
    request: pytest.FixtureRequest, variant: str
) -> None:
    templates: Templates = request.getfixturevalue(variant)
    others = [t for t in templates.all if all(t is not own for own in ours(templates))]
    wild = {
        action
        for template in others
        for _, statement in statements(template)
        for action in listed(statement["Action"])
        if "*" in action or any("*" in templates.render(r) for r in listed(statement["Resource"]))
    }
    assert wild
    assert wild <= set(AGENT_REASONS)


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_policies_of_resources_allow_nothing_by_a_wildcard(
    request: pytest.FixtureRequest, variant: str
) -> None:
    """Only a statement that denies may name every action or principal."""
    templates: Templates = request.getfixturevalue(variant)
    policies = [
        resource["Properties"]
        for template in templates.all
        for resource in template["Resources"].values()
        if resource["Type"].endswith(("QueuePolicy", "BucketPolicy", "TopicPolicy"))
    ]
    assert len(policies) == 7
    for statement in (s for p in policies for s in p["PolicyDocument"]["Statement"]):
        if statement["Effect"] == "Allow":
            allowed = [statement["Action"], statement["Resource"], statement["Principal"]]
            assert "*" not in str([templates.render(part) for part in allowed]), statement


def test_no_action_is_a_wildcard(all_statements: list[tuple[str, dict[str, Any]]]) -> None:
    for _, statement in all_statements:
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))


def test_roles_hold_their_own_grants_and_no_managed_policy(aws: Templates) -> None:
    for template in ours(aws):
        for role in resources(template, "AWS::IAM::Role").values():
            assert "ManagedPolicyArns" not in role
            documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
            sids = [s["Sid"] for document in documents for s in document["Statement"]]
            assert len(sids) == len(set(sids))


def test_each_function_writes_only_its_own_log(aws: Templates) -> None:
    for holder, statement in statements(aws.api):
        if "logs:PutLogEvents" in listed(statement["Action"]):
            group = plain_name(aws.render(statement["Resource"]).removesuffix(".Arn"))
            assert group.removesuffix("Logs") == plain_name(holder).removesuffix("Role")


@pytest.mark.parametrize(
    ("action", "roles"),
    [
        (
            "sqs:SendMessage",
            {*POSTS, "SweepJobs", "SettleJobs", "RedriveTickets", "ServeDeadLetters"},
        ),
        ("sqs:ReceiveMessage", {"Task", "RedriveTickets", "ServeDeadLetters", "SettleJobs"}),
        ("s3:PutObject", {"Task", "CreateUpload", "SubmitComfyJob", "ServeComfyAssets"}),
        (
            "sqs:GetQueueAttributes",
            {
                *("GetJob", "ReadComfyJobs", "SubmitComfyJob", "FollowComfyJob"),
                *("GetMetrics", "ReadFleet", "ScaleWorkers", "RedriveTickets"),
                *("ServeDeadLetters", "SettleJobs", "SweepJobs"),
            },
        ),
        (
            "s3:GetObject",
            {
                *(*POSTS, "GetJob", "ListJobs", "ListArtifacts", "GetArtifact"),
                *("ReadComfyJobs", "CancelJob"),
                *("FollowComfyJob", "ServeComfyAssets"),
                *("SocketSubscribe", "PushUpdates", "Task"),
            },
        ),
        ("s3:DeleteObject", {"SweepJobs", "CancelJob"}),
        ("s3:ListBucket", {*POSTS, "SweepJobs", "CancelJob", "ServeComfyAssets"}),
        (
            "execute-api:ManageConnections",
            {"SocketSubscribe", "PushChunk", "PushUpdates", "SweepJobs"},
        ),
        ("dynamodb:GetRecords", {"PushUpdates", "SettleJobs"}),
        ("dynamodb:BatchWriteItem", POSTS),
        (
            "dynamodb:BatchGetItem",
            {
                *(*POSTS, "ListJobs", "ReadComfyJobs", "ReadFleet", "ServeDeadLetters"),
                *("SocketSubscribe", "SweepJobs", "ManageKeys", "ManageOwners"),
            },
        ),
        ("dynamodb:Scan", {"ManageOwners"}),
        ("iam:PassRole", set()),
        ("ecs:UpdateService", {"ScaleWorkers"}),
        ("ecs:UpdateTaskProtection", {"Task"}),
        ("ecr:BatchGetImage", {"Execution"}),
    ],
)
def test_roles_that_may(aws: Templates, action: str, roles: set[str]) -> None:
    assert roles_that_may(aws, action) == roles


def test_grants_that_no_local_run_uses_exist(
    all_statements: list[tuple[str, dict[str, Any]]],
) -> None:
    granted = {statement.get("Sid") for _, statement in all_statements}
    assert set(UNUSED_LOCALLY) <= granted


@pytest.mark.parametrize("part", ["api", "worker"])
def test_an_emulator_gets_the_same_grants_as_aws(
    aws: Templates, local: Templates, part: str
) -> None:
    """So that tests/e2e can remove each of them. It deploys the stack of the scaler itself."""

    def sids(templates: Templates) -> set[tuple[str, str]]:
        template = getattr(templates, part)
        return {(name, s["Sid"]) for name, s in statements(template) if "Sid" in s}

    missing = sids(aws) - sids(local)
    assert {sid for _, sid in missing} <= {
        *("LogInToRegistry", "PullImage"),
        *("LimitWakes", "WakeScaler", "ReadScaling", "ReadAlarms"),
    }
    assert not sids(local) - sids(aws)


def test_the_scaler_may_change_two_services_only(aws: Templates) -> None:
    (statement,) = (
        statement
        for _, statement in statements(aws.scaler)
        if "ecs:UpdateService" in listed(statement["Action"])
    )
    services = [aws.render(resource).rpartition(":")[2] for resource in statement["Resource"]]
    assert services == ["service/comfyline-test/ondemand", "service/comfyline-test/spot"]


def test_the_scaler_touches_only_reports_of_workers_in_the_jobs_table(aws: Templates) -> None:
    own = {"FindWorkers", "RetireWorkers"}
    found = [s for _, s in statements(aws.scaler) if s.get("Sid") in own]
    assert len(found) == len(own)
    for statement in found:
        keys = {"dynamodb:LeadingKeys": "workers"}
        assert statement["Condition"] == {"ForAllValues:StringLike": keys}


def test_an_image_of_another_registry_needs_no_grant(asg: Templates) -> None:
    sids = {statement["Sid"] for _, statement in statements(asg.worker)}
    assert not sids & {"LogInToRegistry", "PullImage"}


def test_only_those_who_find_a_caller_and_the_sweeper_read_keys(
    aws: Templates, all_statements: list[tuple[str, dict[str, Any]]]
) -> None:
    def may_read(statement: dict[str, Any]) -> bool:
        if statement.get("Sid") == "Switch":  # it reads and sets the switches, and no key
            (only,) = statement["Condition"].values()
            assert only == {"dynamodb:LeadingKeys": "flags"}
            return False
        if statement.get("Sid") != "WatchOwner":
            return True
        # It writes the marks of followed owners, and no key.
        assert listed(statement["Action"]) == ["dynamodb:UpdateItem"]
        (only,) = statement["Condition"].values()
        assert only == {"dynamodb:LeadingKeys": "owner#*"}
        return False

    readers = {
        plain_name(holder)
        for holder, statement in all_statements
        for resource in listed(statement["Resource"])
        if plain_name(aws.render(resource).removesuffix(".Arn")) == "Keys" and may_read(statement)
    }
    find_the_caller = {
        "AuthorizeHttpRole",
        "AuthorizeSocketRole",
        "SessionsRole",
        "GetArtifactRole",
    }
    assert readers == {*find_the_caller, "SweepJobsRole", "ManageKeysRole", "ManageOwnersRole"}


def test_grants_for_uploads_do_not_cover_artifacts(
    aws: Templates, all_statements: list[tuple[str, dict[str, Any]]]
) -> None:
    """The role that signs an upload form cannot read or replace what a worker has stored."""
    places = {
        statement["Sid"]: aws.render(statement["Resource"]).rpartition("/")[0].rpartition("/")[2]
        for _, statement in all_statements
        if statement.get("Sid") in {"SignUpload", "CheckUpload", "FetchUpload", "StoreArtifact"}
    }
    assert places == {
        "SignUpload": "uploads",
        "CheckUpload": "uploads",
        "FetchUpload": "uploads",
        "StoreArtifact": "jobs",
    }


def test_a_worker_frees_slots_and_changes_no_other_row_of_an_owner(aws: Templates) -> None:
    """Usage and totals are in the same table, and a graph's nodes run beside the worker."""
    (statement,) = (s for _, s in statements(aws.worker) if s.get("Sid") == "FreeSlot")
    keys = {"dynamodb:LeadingKeys": "slots#*"}
    assert statement["Condition"] == {"ForAllValues:StringLike": keys}
    assert _key(OwnerId("fox"), "rate")["pk"]["S"].startswith("slots#")
