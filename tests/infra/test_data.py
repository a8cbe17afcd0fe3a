"""Tables, queues and the bucket."""

from __future__ import annotations

import pytest

from comfyline.contract.limits import MAX_EXECUTION_TIMEOUT_SECONDS, MAX_START_DEADLINE_SECONDS
from comfyline.service.files.uploads import UPLOAD_LIFETIME
from comfyline.service.settings import JobDefaults
from tests.infra.templates import (
    Json,
    Templates,
    named,
    only,
    own_outputs,
    plain_name,
    resources,
    statements,
)

TABLE, QUEUE = "AWS::DynamoDB::GlobalTable", "AWS::SQS::Queue"
LANES = ("HighQueue", "NormalQueue", "LowQueue")
DAY = 24 * 3600


def keys_of(schema: list[Json]) -> list[tuple[str, str]]:
    return [(key["AttributeName"], key["KeyType"]) for key in schema]


def test_jobs_table(aws: Templates) -> None:
    jobs = named(aws.data, TABLE, "Jobs")
    assert keys_of(jobs["KeySchema"]) == [("pk", "HASH"), ("sk", "RANGE")]
    assert jobs["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert jobs["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert jobs["BillingMode"] == "PAY_PER_REQUEST"
    types = {a["AttributeName"]: a["AttributeType"] for a in jobs["AttributeDefinitions"]}
    assert types == dict.fromkeys(
        ["pk", "sk", "owner", "status", "listed_at", "due_shard"], "S"
    ) | {"due_at": "N"}


def test_indexes_of_jobs_hold_keys_only(aws: Templates) -> None:
    indexes = named(aws.data, TABLE, "Jobs")["GlobalSecondaryIndexes"]
    assert {index["IndexName"]: keys_of(index["KeySchema"]) for index in indexes} == {
        "by_owner": [("owner", "HASH"), ("status", "RANGE"), ("listed_at", "RANGE")],
        "by_due": [("due_shard", "HASH"), ("due_at", "RANGE")],
    }
    assert {index["Projection"]["ProjectionType"] for index in indexes} == {"KEYS_ONLY"}


def test_other_tables(aws: Templates) -> None:
    connections, keys = (named(aws.data, TABLE, name) for name in ("Connections", "Keys"))
    assert keys_of(connections["KeySchema"]) == [("pk", "HASH"), ("sk", "RANGE")]
    assert connections["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    (index,) = connections["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "by_key"
    assert keys_of(index["KeySchema"]) == [("open_shard", "HASH"), ("key_id", "RANGE")]
    assert index["Projection"]["ProjectionType"] == "KEYS_ONLY"
    assert keys_of(keys["KeySchema"]) == [("pk", "HASH")]
    indexes = keys["GlobalSecondaryIndexes"]
    assert {index["IndexName"]: keys_of(index["KeySchema"]) for index in indexes} == {
        "by_void_at": [("void_shard", "HASH"), ("void_at", "RANGE")],
        "by_owner": [("owner", "HASH")],
    }
    assert {index["Projection"]["ProjectionType"] for index in indexes} == {"KEYS_ONLY"}
    assert "TimeToLiveSpecification" not in keys


@pytest.mark.parametrize("name", ["Jobs", "Keys", "Owners"])
def test_data_that_cannot_be_made_again_is_protected_on_aws(
    aws: Templates, local: Templates, name: str
) -> None:
    replica = named(aws.data, TABLE, name)["Replicas"][0]
    assert replica["DeletionProtectionEnabled"] is True
    assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert deletion_policy(aws, name) == "Retain"
    assert deletion_policy(local, name) == "Delete"


def deletion_policy(templates: Templates, name: str) -> str:
    found = [r for k, r in templates.data["Resources"].items() if plain_name(k) == name]
    (resource,) = found
    return str(resource["DeletionPolicy"])


@pytest.mark.parametrize("lane", LANES)
def test_lanes_redrive_to_the_one_dead_letter_queue(aws: Templates, lane: str) -> None:
    queue, dead_letters = (named(aws.data, QUEUE, name) for name in (lane, "DeadLetters"))
    redrive = queue["RedrivePolicy"]
    assert plain_name(aws.render(redrive["deadLetterTargetArn"]).removesuffix(".Arn")) == (
        "DeadLetters"
    )
    assert redrive["maxReceiveCount"] == 50
    assert "FifoQueue" not in queue
    # A message that SQS moves keeps its age, so some days must remain to look at it.
    assert queue["MessageRetentionPeriod"] < dead_letters["MessageRetentionPeriod"] == 14 * DAY
    # A ticket is kept for longer than a job may wait for its first start.
    start_deadline = JobDefaults.start_deadline_seconds
    assert queue["MessageRetentionPeriod"] > start_deadline


@pytest.mark.parametrize("target", ["aws", "local"])
@pytest.mark.parametrize("lane", LANES)
def test_visibility_covers_the_lease(
    request: pytest.FixtureRequest, target: str, lane: str
) -> None:
    templates: Templates = request.getfixturevalue(target)
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    variables = {v["Name"]: v["Value"] for v in task["ContainerDefinitions"][0]["Environment"]}
    lease, heartbeat = (float(variables[f"{n}_SECONDS"]) for n in ("LEASE", "HEARTBEAT"))
    assert heartbeat * 3 < lease <= named(templates.data, QUEUE, lane)["VisibilityTimeout"]


def test_bucket(aws: Templates) -> None:
    bucket = only(resources(aws.data, "AWS::S3::Bucket"))
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    encryption = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    assert bucket["CorsConfiguration"]["CorsRules"] == [
        {"AllowedMethods": ["GET", "HEAD", "POST"], "AllowedOrigins": ["*"]}
    ]


def test_the_bucket_keeps_files_longer_than_the_service_does(
    aws: Templates, local: Templates
) -> None:
    bucket = only(resources(aws.data, "AWS::S3::Bucket"))
    rules = {rule["Prefix"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    rule, uploads = rules["jobs/"], rules["uploads/"]
    assert uploads["ExpirationInDays"] * DAY > UPLOAD_LIFETIME.total_seconds()
    longest_life = MAX_START_DEADLINE_SECONDS + MAX_EXECUTION_TIMEOUT_SECONDS
    assert UPLOAD_LIFETIME.total_seconds() > longest_life
    assert (rule["Status"], rule["Prefix"]) == ("Enabled", "jobs/")
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    # No file is removed before its job, and then it is removed soon.
    spare = rule["ExpirationInDays"] * DAY - longest_life - JobDefaults.retention_seconds
    assert 2 * DAY <= spare < 3 * DAY
    assert (deletion_policy(aws, "Artifacts"), deletion_policy(local, "Artifacts")) == (
        "Retain",
        "Delete",
    )


def test_only_the_stage_dev_deletes_its_data(aws: Templates, dev: Templates) -> None:
    for name in ("Jobs", "Keys", "Owners", "Artifacts"):
        assert (deletion_policy(aws, name), deletion_policy(dev, name)) == ("Retain", "Delete")
    replica = named(dev.data, TABLE, "Jobs")["Replicas"][0]
    assert (
        replica["DeletionProtectionEnabled"] is False
    )  # or CloudFormation could not delete the stack


def plain_http_refused(template: Json) -> set[str]:
    """The queues and buckets with a policy that denies calls without TLS."""
    refused = set()
    for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"):
        for name, policy in resources(template, kind).items():
            (statement,) = policy["PolicyDocument"]["Statement"]
            assert statement["Effect"] == "Deny"
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            refused.add(plain_name(name).removesuffix("Policy"))
    return refused


def test_tls_is_required_on_aws(aws: Templates) -> None:
    assert plain_http_refused(aws.data) == {*LANES, "DeadLetters", "Artifacts"}
    assert plain_http_refused(aws.api) == {"Parking"}


def test_tls_is_not_required_on_an_emulator(local: Templates) -> None:
    assert plain_http_refused(local.data) | plain_http_refused(local.api) == set()


def test_data_stack_holds_no_permission(aws: Templates) -> None:
    assert statements(aws.data) == []


def test_outputs(aws: Templates) -> None:
    outputs = set(own_outputs(aws.data))
    assert outputs == {
        "JobsTable",
        "ConnectionsTable",
        "KeysTable",
        "OwnersTable",
        "ArtifactsBucket",
        "HighQueueUrl",
        "NormalQueueUrl",
        "LowQueueUrl",
        "DeadLetterQueueUrl",
        "WorkerImageRepository",
    }
