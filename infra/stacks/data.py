"""Tables, queues and the bucket. They outlive every deployment of code."""

from __future__ import annotations

from aws_cdk import (
    CfnOutput,
    CrossStackReferences,
    Duration,
    ReferenceStrength,
    RemovalPolicy,
    Stack,
)
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from comfyline.service.storage_names import (
    ARTIFACT_EXPIRY_DAYS,
    BY_DUE,
    BY_KEY,
    BY_OWNER,
    BY_VOID_AT,
    JOBS_PREFIX,
    UPLOADS_PREFIX,
)
from infra.deployment import Deployment
from infra.grants import Resource

# Longer than the 8 days during which a job may still read an upload.
CALLER_FILE_EXPIRY = Duration.days(9)
# A job runs for 6 hours at most, and no multipart upload outlives its job.
UPLOAD_EXPIRY = Duration.days(1)
DEAD_LETTER_RETENTION = Duration.days(14)  # the longest that SQS allows
# Six times the timeout of the function that reads it, as Lambda's documentation recommends. A
# message that failed is delivered again after this time.
DEAD_LETTER_VISIBILITY = Duration.minutes(3)
# Less than the dead-letter queue's. A message that SQS moves there keeps its age, so the difference
# is the time that remains to look at it.
TICKET_RETENTION = Duration.days(13)
# High, because the table counts the claims of a job. This limit is only for a ticket that no worker
# can read.
MAX_RECEIVES = 50
KEPT_IMAGES = 20  # of some 10 GB each; a rollback needs the last few

DESCRIPTION = "Comfyline: tables, queues and the bucket, which outlive every deployment of code"
# What each output is, by the name of its value.
_OUTPUTS = {
    "jobs_table": "Table of the jobs",
    "connections_table": "Table of the open sockets and their subscriptions",
    "keys_table": "Table of the API keys, which `comfyline keys` changes",
    "owners_table": "Table of each owner's slots and usage",
    "artifacts_bucket": "Bucket of uploads, artifacts and models",
    "dead_letter_queue_url": "Queue of the tickets that were delivered too often",
    "high_queue_url": "Queue of the tickets with priority high",
    "normal_queue_url": "Queue of the tickets with priority normal",
    "low_queue_url": "Queue of the tickets with priority low",
}


class DataStack(Stack):
    """Tables, queues and the bucket."""

    def __init__(self, scope: Construct, name: str, *, deployment: Deployment) -> None:
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        self._local = deployment.is_local
        self._keep = deployment.keeps_data
        self._key = deployment.encryption.key_arn
        self._removal = RemovalPolicy.RETAIN if self._keep else RemovalPolicy.DESTROY
        self.jobs = self._jobs_table()
        # A socket lives for two hours at most, so nothing here must be kept.
        self.connections = ddb.TableV2(
            self,
            "Connections",
            partition_key=_key("pk"),
            sort_key=_key("sk"),
            billing=ddb.Billing.on_demand(),
            time_to_live_attribute="ttl",
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.connections.add_global_secondary_index(
            index_name=BY_KEY,
            partition_key=_key("open_shard"),
            sort_key=_key("key_id"),
            projection_type=ddb.ProjectionType.KEYS_ONLY,
        )
        self.keys = self._durable_table("Keys")
        self.keys.add_global_secondary_index(
            index_name=BY_VOID_AT,
            partition_key=_key("void_shard"),
            sort_key=ddb.Attribute(name="void_at", type=ddb.AttributeType.NUMBER),
            projection_type=ddb.ProjectionType.KEYS_ONLY,
        )
        self.keys.add_global_secondary_index(
            index_name=BY_OWNER,
            partition_key=_key("owner"),
            projection_type=ddb.ProjectionType.KEYS_ONLY,
        )
        self.owners = self._durable_table("Owners", sort_key=_key("sk"), ttl="ttl")
        self.dead_letters = self._queue(
            "DeadLetters", DEAD_LETTER_RETENTION, DEAD_LETTER_VISIBILITY
        )
        redrive = sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MAX_RECEIVES)
        # The worker renews the lease and the visibility together, so they have the same length.
        lease = Duration.seconds(deployment.worker.lease_seconds)
        self.queues = {
            lane: self._queue(f"{lane}Queue", TICKET_RETENTION, lease, redrive)
            for lane in ("High", "Normal", "Low")
        }
        self.artifacts = self._bucket()
        if not self._local:
            self._image_repository(deployment)
        self._export_what_holds_data()
        for name, value in self.values.items():
            output = name.title().replace("_", "")
            CfnOutput(self, output, value=value, description=_OUTPUTS[name])

    def _export_what_holds_data(self) -> None:
        """Let CloudFormation refuse to remove or replace a table or the bucket while it is used.

        A release that removes one must first be deployed without its use. The exports do not depend
        on the stacks that use them, so that a stack may stop using one at any time.
        """
        for table in (self.jobs, self.keys, self.owners):
            CrossStackReferences.of(table).produce(ReferenceStrength.STRONG)
            self.export_value(table.table_name)
            self.export_value(table.table_arn)
        self.export_value(self.jobs.table_stream_arn)
        CrossStackReferences.of(self.artifacts).produce(ReferenceStrength.STRONG)
        self.export_value(self.artifacts.bucket_name)
        self.export_value(self.artifacts.bucket_arn)

    @property
    def values(self) -> dict[str, str]:
        """The names of this stack's resources, under the names of the settings' fields.

        The outputs have the same names: `JobsTable` is `jobs_table`.
        """
        lanes = {
            f"{lane.lower()}_queue_url": queue.queue_url for lane, queue in self.queues.items()
        }
        return {
            "jobs_table": self.jobs.table_name,
            "connections_table": self.connections.table_name,
            "keys_table": self.keys.table_name,
            "owners_table": self.owners.table_name,
            "artifacts_bucket": self.artifacts.bucket_name,
            "dead_letter_queue_url": self.dead_letters.queue_url,
            **lanes,
        }

    @property
    def arns(self) -> dict[Resource, list[str]]:
        """The ARNs of this stack's resources, for grants."""
        table, stream = self.jobs.table_arn, self.jobs.table_stream_arn
        assert stream is not None  # it has a stream
        return {
            Resource.JOBS: [table],
            Resource.JOBS_STREAM: [stream],
            Resource.JOBS_BY_OWNER: [f"{table}/index/{BY_OWNER}"],
            Resource.JOBS_BY_DUE: [f"{table}/index/{BY_DUE}"],
            Resource.CONNECTIONS: [self.connections.table_arn],
            Resource.CONNECTIONS_BY_KEY: [f"{self.connections.table_arn}/index/{BY_KEY}"],
            Resource.KEYS_BY_OWNER: [f"{self.keys.table_arn}/index/{BY_OWNER}"],
            Resource.KEYS_BY_VOID_AT: [f"{self.keys.table_arn}/index/{BY_VOID_AT}"],
            Resource.KEYS: [self.keys.table_arn],
            Resource.OWNERS: [self.owners.table_arn],
            Resource.QUEUES: [queue.queue_arn for queue in self.queues.values()],
            Resource.DEAD_LETTERS: [self.dead_letters.queue_arn],
            Resource.KEY: [self._key] if self._key else [],
            Resource.BUCKET: [self.artifacts.bucket_arn],
            Resource.ARTIFACTS: [self.artifacts.arn_for_objects(f"{JOBS_PREFIX}*")],
            Resource.UPLOADS: [self.artifacts.arn_for_objects(f"{UPLOADS_PREFIX}*")],
        }

    def _jobs_table(self) -> ddb.TableV2:
        table = self._durable_table(
            "Jobs",
            sort_key=_key("sk"),
            stream=ddb.StreamViewType.NEW_AND_OLD_IMAGES,
            ttl="ttl",
        )
        # Both indexes hold keys only, so that a heartbeat or a progress write does not change them.
        table.add_global_secondary_index(
            index_name=BY_OWNER,
            partition_keys=[_key("owner")],
            sort_keys=[_key("status"), _key("listed_at")],
            projection_type=ddb.ProjectionType.KEYS_ONLY,
        )
        table.add_global_secondary_index(
            index_name=BY_DUE,
            partition_key=_key("due_shard"),
            sort_key=ddb.Attribute(name="due_at", type=ddb.AttributeType.NUMBER),
            projection_type=ddb.ProjectionType.KEYS_ONLY,
        )
        return table

    def _durable_table(
        self,
        name: str,
        *,
        sort_key: ddb.Attribute | None = None,
        stream: ddb.StreamViewType | None = None,
        ttl: str | None = None,
    ) -> ddb.TableV2:
        return ddb.TableV2(
            self,
            name,
            partition_key=_key("pk"),
            sort_key=sort_key,
            billing=ddb.Billing.on_demand(),
            dynamo_stream=stream,
            time_to_live_attribute=ttl,
            deletion_protection=self._keep,
            point_in_time_recovery_specification=ddb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=self._keep
            ),
            removal_policy=self._removal,
        )

    def _queue(
        self,
        name: str,
        retention: Duration,
        visibility: Duration,
        dead_letters: sqs.DeadLetterQueue | None = None,
    ) -> sqs.Queue:
        return sqs.Queue(
            self,
            name,
            retention_period=retention,
            visibility_timeout=visibility,
            dead_letter_queue=dead_letters,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=not self._local,
            # The sweeper can make tickets again from the jobs table at any time.
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _image_repository(self, deployment: Deployment) -> None:
        """For the worker's images, which `make image` builds and pushes. An empty one is free."""
        repository = ecr.Repository(
            self,
            "WorkerImages",
            repository_name=f"{deployment.cluster_name}-worker",
            image_scan_on_push=True,
            # A tag cannot be moved to another image, so a rollback gets the image that it names.
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=KEPT_IMAGES)],
            removal_policy=self._removal,
            empty_on_delete=not self._keep,
        )
        CfnOutput(
            self,
            "WorkerImageRepository",
            value=repository.repository_uri,
            description="Repository to which `make image` pushes the worker's image",
        )

    def _bucket(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "Artifacts",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=not self._local,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire-artifacts",
                    prefix=JOBS_PREFIX,
                    expiration=Duration.days(ARTIFACT_EXPIRY_DAYS),
                    abort_incomplete_multipart_upload_after=UPLOAD_EXPIRY,
                ),
                s3.LifecycleRule(
                    id="expire-uploads", prefix=UPLOADS_PREFIX, expiration=CALLER_FILE_EXPIRY
                ),
            ],
            # Every web page may fetch and send files, because the signed URL is the permission.
            cors=[
                s3.CorsRule(
                    allowed_methods=[s3.HttpMethods.GET, s3.HttpMethods.HEAD, s3.HttpMethods.POST],
                    allowed_origins=["*"],
                )
            ],
            removal_policy=self._removal,
        )


def _key(name: str) -> ddb.Attribute:
    return ddb.Attribute(name=name, type=ddb.AttributeType.STRING)
