"""The permissions, one grant for each purpose; rows/ says which function has which.

A grant's purpose becomes the Sid of its IAM statement. tests/e2e removes one grant at a time, and
expects the smoke run of its holder to fail, because otherwise the grant would not be needed.

Nothing here imports the CDK, so that tests can read the grants without starting Node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType


class Resource(Enum):
    """What a grant is for. Each stack says which ARNs a resource stands for."""

    JOBS = auto()
    JOBS_STREAM = auto()
    JOBS_BY_OWNER = auto()
    JOBS_BY_DUE = auto()
    CONNECTIONS = auto()
    CONNECTIONS_BY_KEY = auto()
    KEYS = auto()
    KEYS_BY_VOID_AT = auto()
    KEYS_BY_OWNER = auto()
    OWNERS = auto()
    QUEUES = auto()  # the three lanes
    DEAD_LETTERS = auto()
    PARKING = auto()  # the queue of what settle_jobs could not do
    BUCKET = auto()
    ARTIFACTS = auto()  # the artifacts in the bucket
    UPLOADS = auto()  # files that callers uploaded, in the same bucket
    MODELS = auto()  # the engine's models, in the same bucket unless the deployment names another
    SOCKETS = auto()  # the connections of the WebSocket API
    GREETER = auto()  # the function that sends the first message to a new socket
    RELAY = auto()  # the function that posts to a part of a job's many subscribers
    GROUP = auto()  # the Auto Scaling group of on-demand instances
    TASKS = auto()  # the workers' own tasks, in the fleet's cluster
    FLEET = auto()  # the ECS services that run the workers
    SCALING = auto()  # the table in which the scaler remembers recent needs
    ALARMS = auto()  # all alarms of the account in this region
    SCALER = auto()  # the scaler's function, where the deployment has one
    IMAGE = auto()  # the repository of the worker's image
    KEY = auto()  # the deployment's own KMS key, if it has one
    OWN_LOGS = auto()
    ANY = auto()  # only for actions that support no resource; WILDCARD_REASONS says why


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission for one purpose."""

    purpose: str
    actions: tuple[str, ...]
    resource: Resource
    # One pattern or several: only the rows of a table that match one of them.
    partition_keys: str | tuple[str, ...] | None = None
    via: str | None = None  # only calls that this service makes in the name of the role


def may(
    purpose: str,
    resource: Resource,
    *actions: str,
    partition_keys: str | tuple[str, ...] | None = None,
) -> Grant:
    """A grant of those actions on the resource."""
    return Grant(purpose, actions, resource, partition_keys)


# --- every function -------------------------------------------------------------------------------

WRITE_LOGS = may("WriteLogs", Resource.OWN_LOGS, "logs:CreateLogStream", "logs:PutLogEvents")
_SEND_TRACES = may("SendTraces", Resource.ANY, "xray:PutTraceSegments", "xray:PutTelemetryRecords")
EVERY_FUNCTION = (WRITE_LOGS, _SEND_TRACES)

# --- grants that several functions share ----------------------------------------------------------


def emulated(grant: Grant) -> Grant:
    """The grant as the emulator needs it: it checks a batch of messages by an action of its own.

    AWS checks `sqs:SendMessage` for SendMessageBatch, and has no action of the latter name.
    """
    if "sqs:SendMessage" not in grant.actions:
        return grant
    return replace(grant, actions=(*grant.actions, "sqs:SendMessageBatch"))


# The actions of Lambda's poller of a queue.
READ_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
READ_KEY = may("ReadKey", Resource.KEYS, "dynamodb:GetItem")
# The emulator compares no partition keys, so one action on one table is one grant.
READ_SECRETS = may(
    "ReadSecrets",
    Resource.CONNECTIONS,
    "dynamodb:GetItem",
    partition_keys=("token#*", "session#*"),
)
GET_JOB = may("GetJob", Resource.JOBS, "dynamodb:GetItem")
READ_JOB = may("ReadJob", Resource.JOBS, "dynamodb:Query")
PAGE_JOBS = may("PageJobs", Resource.JOBS_BY_OWNER, "dynamodb:Query")
READ_JOBS = may("ReadJobs", Resource.JOBS, "dynamodb:BatchGetItem")
CHANGE_JOB = may("ChangeJob", Resource.JOBS, "dynamodb:UpdateItem")
DELETE_JOB = may("DeleteJob", Resource.JOBS, "dynamodb:DeleteItem")
COUNT_TICKETS = may("CountTickets", Resource.QUEUES, "sqs:GetQueueAttributes")
SEND_TICKET = may("SendTicket", Resource.QUEUES, "sqs:SendMessage")
# A signed URL permits what the role that signed it may do.
SIGN_ARTIFACT = may("SignArtifact", Resource.ARTIFACTS, "s3:GetObject")
LIST_ARTIFACTS = may("ListArtifacts", Resource.BUCKET, "s3:ListBucket")
DELETE_ARTIFACTS = may("DeleteArtifacts", Resource.ARTIFACTS, "s3:DeleteObject")
# A transaction needs the permission of each write in it.
_FREE_SLOT = ("dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
FREE_SLOT = may("FreeSlot", Resource.OWNERS, *_FREE_SLOT)
# Each hundredth of an owner's budget is counted by one write.
COUNT_CALLS = may("CountCalls", Resource.OWNERS, "dynamodb:UpdateItem", partition_keys="budget#*")
COUNT_ENDS = may("CountEnds", Resource.OWNERS, "dynamodb:PutItem")  # updates are FreeSlot's
POST_TO_SOCKET = may("PostToSocket", Resource.SOCKETS, "execute-api:ManageConnections")
CLOSE_CONNECTION = (
    may("GetConnection", Resource.CONNECTIONS, "dynamodb:GetItem"),
    may("CloseConnection", Resource.CONNECTIONS, "dynamodb:DeleteItem"),
)
FOLLOW_STREAM = (
    may(
        "FollowStream",
        Resource.JOBS_STREAM,
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
    ),
    may("FindStream", Resource.ANY, "dynamodb:ListStreams"),
)

# Waiting for a job on behalf of a caller.
TAKE_PLACE = may(
    "TakePlace",
    Resource.OWNERS,
    *("dynamodb:UpdateItem", "dynamodb:PutItem"),  # the updates also count calls
)
# The records of assets, and their bytes, which are uploads.
KEEP_ASSETS = may(
    "KeepAssets",
    Resource.OWNERS,
    *("dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"),
    partition_keys="assets#*",
)
STORE_UPLOAD = may("StoreUpload", Resource.UPLOADS, "s3:PutObject")
CHECK_UPLOAD = may("CheckUpload", Resource.UPLOADS, "s3:GetObject")
FIND_MISSING_UPLOAD = may("FindMissingUpload", Resource.BUCKET, "s3:ListBucket")

# Accepting a job, from whichever route it comes.
ACCEPT_JOB = (
    may("StoreRequest", Resource.JOBS, "dynamodb:BatchWriteItem"),
    may("AddJob", Resource.JOBS, "dynamodb:PutItem"),
    CHANGE_JOB,  # a replayed request that finds its job overdue expires the job
    SEND_TICKET,
    may("TakeSlot", Resource.OWNERS, "dynamodb:Query", "dynamodb:PutItem", *_FREE_SLOT),
    READ_JOBS,  # the jobs that hold the slots of an owner at its cap
    CHECK_UPLOAD,
    FIND_MISSING_UPLOAD,
)
# With `Prefer: wait`, the response may be the ended job.
SUBMIT_JOB = (*ACCEPT_JOB, GET_JOB, READ_JOB, SIGN_ARTIFACT)

# --- the worker -----------------------------------------------------------------------------------

WORKER_GRANTS = (
    READ_JOB,  # the row and the graph, at once
    GET_JOB,  # the graph, if that was not possible
    CHANGE_JOB,
    may("StoreArtifactList", Resource.JOBS, "dynamodb:PutItem"),
    may(
        "TakeTickets",
        Resource.QUEUES,
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
    ),
    may("FetchUpload", Resource.UPLOADS, "s3:GetObject"),
    may("FetchModel", Resource.MODELS, "s3:GetObject"),
    may("StoreArtifact", Resource.ARTIFACTS, "s3:PutObject", "s3:AbortMultipartUpload"),
    may("ProtectTask", Resource.TASKS, "ecs:UpdateTaskProtection"),
    # The rows of slots, and not those of usage: a graph's nodes run beside the worker.
    may("FreeSlot", Resource.OWNERS, *_FREE_SLOT, partition_keys="slots#*"),
)

PULL_IMAGE = (
    may("LogInToRegistry", Resource.ANY, "ecr:GetAuthorizationToken"),
    may(
        "PullImage",
        Resource.IMAGE,
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    ),
)

# --- reasons --------------------------------------------------------------------------------------

# Purposes that no run on one machine needs, because AWS itself uses the permission or because the
# emulator does not check it. tests/e2e removes every other grant in turn.
UNUSED_LOCALLY: Mapping[str, str] = MappingProxyType(
    {
        "WriteLogs": "Lambda's runtime and ECS's log driver write the log",
        "SendTraces": "Lambda's agent sends the traces",
        "FollowStream": "Lambda's poller reads the stream",
        "FindStream": "Lambda's poller finds the stream",
        "FollowDeadLetters": "Lambda's poller reads the queue",
        "ReadAlarms": "only AWS has alarms",
        "ReadScaling": "an emulator's functions do not know the scaler",
        "FollowParked": "Lambda's poller reads the queue",
        "FindMissingUpload": "without it S3 answers 403 for a missing object, and the emulator 404",
        "ProtectTask": "the ECS agent uses it, and only AWS has one",
        "LogInToRegistry": "the ECS agent pulls the image; locally the worker is a process",
        "PullImage": "the ECS agent pulls the image; locally the worker is a process",
    }
)

# Why the resource of a purpose contains a wildcard.
WILDCARD_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "SendTraces": "X-Ray's write actions support no resource",
        "FindStream": "ListStreams supports no resource",
        "ReadAlarms": "CloudWatch checks a search by prefix against all alarms",
        "SignArtifact": "the key of a file is made together with the file",
        "StoreArtifact": "the key of a file is made together with the file",
        "CheckUpload": "the key of a file is made together with its upload form",
        "SignUpload": "the key of a file is made together with its upload form",
        "StoreUpload": "the key of a file contains its hash",
        "FetchUpload": "the key of a file is made together with its upload form",
        "FetchModel": "the lock in the worker's image names the models",
        "DeleteArtifacts": "the key of a file is made together with the file",
        "LogInToRegistry": "GetAuthorizationToken supports no resource",
        "ProtectTask": "ECS makes the id of a task when it starts the task",
        "PostToSocket": "API Gateway makes the id of a connection when it opens",
    }
)
