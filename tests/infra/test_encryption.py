"""Encryption at rest: by AWS's keys, or by the deployment's key with the grants that it needs."""

from __future__ import annotations

from typing import Any

import pytest

from infra.key_grants import key_grants
from tests.infra.conftest import KEY_ARN as KEY
from tests.infra.templates import Json, Templates, listed, plain_name, resources, statements

# By type: where the template names the key.
HOLDERS: dict[str, Any] = {
    "AWS::DynamoDB::GlobalTable": lambda p: p["Replicas"][0].get("SSESpecification"),
    "AWS::Logs::LogGroup": lambda p: p.get("KmsKeyId"),
    "AWS::S3::Bucket": lambda p: p["BucketEncryption"],
    "AWS::SNS::Topic": lambda p: p.get("KmsMasterKeyId"),
    "AWS::SQS::Queue": lambda p: p.get("KmsMasterKeyId"),
}


def encrypted(templates: Templates) -> dict[str, bool]:
    """Whether each resource that can hold data is encrypted with the key."""
    return {
        name: KEY in str(place(properties))
        for template in templates.all
        for kind, place in HOLDERS.items()
        for name, properties in resources(template, kind).items()
    }


def test_the_own_key_encrypts_everything_that_can_hold_data(asg: Templates) -> None:
    found = encrypted(asg)
    assert len(found) > 40
    assert [name for name, is_encrypted in found.items() if not is_encrypted] == []
    for queue in resources(asg.data, "AWS::SQS::Queue").values():
        assert not queue.get("SqsManagedSseEnabled")  # SQS takes one or the other
    for table in resources(asg.data, "AWS::DynamoDB::GlobalTable").values():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}


def test_without_an_own_key_no_role_may_use_any(aws: Templates) -> None:
    assert not any(encrypted(aws).values())
    assert not [s for t in aws.all for _, s in statements(t) if "kms:" in str(s["Action"])]


def of_roles(templates: Templates) -> dict[str, list[Json]]:
    """The statements of each role of our code."""
    found = dict[str, list[Json]]()
    for template in (templates.api, templates.worker, templates.scaler):
        for holder, statement in statements(template):
            found.setdefault(plain_name(holder).removesuffix("Role"), []).append(statement)
    return found


def services_of_key(own: list[Json]) -> set[str]:
    """The services through which a role may use the key."""
    found = set()
    for statement in own:
        if statement.get("Sid", "").startswith("UseKeyOf"):
            assert statement["Resource"] == KEY
            via = statement["Condition"]["StringEquals"]["kms:ViaService"]
            service, region, _, suffix = via["Fn::Join"][1]
            assert (region, suffix) == ({"Ref": "AWS::Region"}, {"Ref": "AWS::URLSuffix"})
            found.add(service.rstrip("."))
    return found


def test_each_role_may_use_the_key_for_its_own_services_only(asg: Templates) -> None:
    content = {
        "dynamodb": ("Item", "Query", "GetRecords"),
        "sqs": ("SendMessage", "ReceiveMessage"),
        "s3": ("Object", "MultipartUpload"),
    }
    roles = of_roles(asg)
    assert len(roles) > 25
    for name, own in roles.items():
        actions = [a for s in own for a in listed(s["Action"]) if not a.startswith("kms:")]
        needed = {
            service
            for service, endings in content.items()
            for action in actions
            if action.startswith(f"{service}:") and action.endswith(endings)
            if action != "s3:DeleteObject"
        }
        assert services_of_key(own) == needed, name


@pytest.mark.parametrize(
    ("role", "purpose", "actions"),
    [
        ("CreateUpload", "UseKeyOfFiles", {"GenerateDataKey"}),
        ("GetJob", "UseKeyOfFiles", {"Decrypt"}),
        ("Task", "UseKeyOfFiles", {"Decrypt", "GenerateDataKey"}),
        ("Task", "UseKeyOfQueues", {"Decrypt"}),
        ("SubmitJob", "UseKeyOfQueues", {"Decrypt", "GenerateDataKey"}),
        ("AuthorizeHttp", "UseKeyOfTables", {"Decrypt", "DescribeKey"}),
        (
            "SocketConnect",
            "UseKeyOfTables",
            {
                *("Decrypt", "DescribeKey", "Encrypt"),
                *("GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"),
            },
        ),
    ],
)
def test_roles_need_of_the_key(asg: Templates, role: str, purpose: str, actions: set[str]) -> None:
    (statement,) = (s for s in of_roles(asg)[role] if s.get("Sid") == purpose)
    assert {a.removeprefix("kms:") for a in listed(statement["Action"])} == actions


def test_grants_without_content_need_no_key() -> None:
    assert list(key_grants(())) == []
