"""What a process needs of the deployment's own KMS key, as follows from its other grants.

AWS's services use the key in the name of the caller, so each role has a permission for the key. It
is limited to the services that the role's grants are for.

Nothing here imports the CDK, so that tests can read the grants without starting Node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from infra.grants import Grant, Resource

_READ, _NEW = "kms:Decrypt", "kms:GenerateDataKey"
# DynamoDB keeps a key for each table, which it unwraps, wraps and replaces in the caller's name.
_READ_TABLE = (_READ, "kms:DescribeKey")
_WRITE_TABLE = (*_READ_TABLE, "kms:Encrypt", _NEW, "kms:ReEncryptFrom", "kms:ReEncryptTo")

# By action. An action that is not here needs no key: it touches no content.
_NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan"),
                "dynamodb:GetRecords",
            ),
            _READ_TABLE,
        ),
        **dict.fromkeys(
            (
                *("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
                "dynamodb:BatchWriteItem",
            ),
            _WRITE_TABLE,
        ),
        "sqs:SendMessage": (_NEW, _READ),  # SQS checks the new data key by decrypting it
        "sqs:ReceiveMessage": (_READ,),
        "s3:GetObject": (_READ,),
        "s3:PutObject": (_NEW,),
        # A role that may abort multipart uploads makes them, and S3 reads their parts back.
        "s3:AbortMultipartUpload": (_READ,),
    }
)
_PURPOSES = {"dynamodb": "UseKeyOfTables", "sqs": "UseKeyOfQueues", "s3": "UseKeyOfFiles"}


def key_grants(grants: Iterable[Grant]) -> Iterator[Grant]:
    """One grant of the key for each service that these grants are about."""
    actions = [action for grant in grants for action in grant.actions]
    for service, purpose in _PURPOSES.items():
        own = [_NEEDED.get(a, ()) for a in actions if a.startswith(f"{service}:")]
        needed = sorted({action for group in own for action in group})
        if needed:
            yield Grant(purpose, tuple(needed), Resource.KEY, via=service)
