"""The preflight's check of the deployment's own KMS key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

USABLE = {"KeyState": "Enabled", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT"}


def faults_of_key(kms: Any, key_arn: str) -> list[str]:
    """Why a deployment in the client's region cannot use the key; empty if nothing is known.

    Raises:
        ClientError: AWS refuses to describe the key.
    """
    region = str(kms.meta.region_name)
    _, _, _, key_region, *_ = key_arn.split(":")
    if key_region != region:
        return [f"it is in {key_region}, and the deployment in {region}"]
    found = kms.describe_key(KeyId=key_arn)["KeyMetadata"]
    wrong = [f"{name} is {found.get(name)}" for name in USABLE if found.get(name) != USABLE[name]]
    return [*wrong, *_not_allowed(kms, key_arn, region)]


def _not_allowed(kms: Any, key_arn: str, region: str) -> Iterator[str]:
    """The services that use the key in their own name, and that its policy does not mention."""
    try:
        policy = kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    except ClientError:
        return  # a role that deploys need not be allowed to read the policy
    allowing = [s for s in json.loads(policy)["Statement"] if s["Effect"] == "Allow"]
    principals = json.dumps([statement.get("Principal") for statement in allowing])
    for service in (f"logs.{region}.amazonaws.com", "cloudwatch.amazonaws.com"):
        if service not in principals and '"Service": "*"' not in principals:
            yield f"its policy does not allow {service}"
