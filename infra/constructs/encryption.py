"""Encryption at rest with the deployment's own KMS key, of everything that can hold its data."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IConstruct

from infra.constructs.console_files import ConsoleFiles


def encrypt(scope: Construct, key_arn: str) -> None:
    """Use the key for all tables, queues, buckets, log groups and topics.

    Call it after all stacks are declared. Not encrypted with it: the console's files, which every
    caller may read, and which CloudFront could otherwise not; the repository of images, because
    its key cannot be changed later and it holds no data of callers; volumes of GPU instances, for
    which the account's default key of EBS counts.
    """
    for construct in scope.node.find_all():
        _encrypt(construct, key_arn)


def _encrypt(construct: IConstruct, key_arn: str) -> None:
    match construct:
        case ddb.CfnGlobalTable():
            specification = {"SSEEnabled": True, "SSEType": "KMS"}
            construct.add_property_override("SSESpecification", specification)
            replica_key = "Replicas.0.SSESpecification.KMSMasterKeyId"
            construct.add_property_override(replica_key, key_arn)
        case sqs.CfnQueue():
            construct.kms_master_key_id = key_arn
            construct.sqs_managed_sse_enabled = None
        case s3.CfnBucket() if ConsoleFiles.NAME not in construct.node.path.split("/"):
            rule = {
                # One call to KMS for many files instead of one for each.
                "BucketKeyEnabled": True,
                "ServerSideEncryptionByDefault": {
                    "SSEAlgorithm": "aws:kms",
                    "KMSMasterKeyID": key_arn,
                },
            }
            construct.add_property_override(
                "BucketEncryption", {"ServerSideEncryptionConfiguration": [rule]}
            )
        case logs.CfnLogGroup():
            construct.kms_key_id = key_arn
        case sns.CfnTopic():
            construct.kms_master_key_id = key_arn
