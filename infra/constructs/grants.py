"""What each process may do: one grant for each resource and purpose, and nothing else.

A purpose becomes the statement's Sid. Taking one grant away must break something that the tests
see, or the grant is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from aws_cdk import aws_iam as iam


class Resource(Enum):
    """What can be acted on; a stack says which ARNs stand for each."""

    JOBS = auto()
    JOBS_STREAM = auto()
    JOBS_BY_OWNER = auto()
    JOBS_BY_DUE = auto()
    CONNECTIONS = auto()
    CONNECTIONS_BY_KEY = auto()
    KEYS = auto()
    OWNERS = auto()
    QUEUES = auto()  # the three lanes
    DEAD_LETTERS = auto()
    UNDELIVERED_UPDATES = auto()
    BUCKET = auto()
    ARTIFACTS = auto()  # what lies in the bucket
    UPLOADS = auto()  # what callers have sent, in the same bucket
    MODELS = auto()  # the engine's models, in the same bucket unless another is named
    SOCKETS = auto()  # the clients of the WebSocket API
    GREETER = auto()  # the function that speaks to a socket when it is open
    TASKS = auto()  # the workers' own tasks, in the fleet's cluster
    FLEET = auto()  # the service that runs the workers
    SCALING = auto()  # what the scaler remembers
    IMAGE = auto()  # the repository of the worker's image
    OWN_LOGS = auto()
    ANY = auto()  # only for actions that know no resource; WILDCARD_REASONS says why


Arns = Mapping[Resource, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission for one purpose."""

    purpose: str
    actions: tuple[str, ...]
    resource: Resource

    def statement(self, arns: Arns) -> iam.PolicyStatement:
        """The grant as IAM takes it.

        Raises:
            KeyError: `arns` lacks the resource.
        """
        return iam.PolicyStatement(
            sid=self.purpose, actions=list(self.actions), resources=list(arns[self.resource])
        )


def _may(purpose: str, resource: Resource, *actions: str) -> Grant:
    return Grant(purpose, actions, resource)


WRITE_LOGS = _may("WriteLogs", Resource.OWN_LOGS, "logs:CreateLogStream", "logs:PutLogEvents")
_SEND_TRACES = _may("SendTraces", Resource.ANY, "xray:PutTraceSegments", "xray:PutTelemetryRecords")
EVERY_FUNCTION = (WRITE_LOGS, _SEND_TRACES)

_READ_KEY = _may("ReadKey", Resource.KEYS, "dynamodb:GetItem")
_GET_JOB = _may("GetJob", Resource.JOBS, "dynamodb:GetItem")
_READ_JOB = _may("ReadJob", Resource.JOBS, "dynamodb:Query")
_READ_JOBS = _may("ReadJobs", Resource.JOBS, "dynamodb:BatchGetItem")
_CHANGE_JOB = _may("ChangeJob", Resource.JOBS, "dynamodb:UpdateItem")
_COUNT_TICKETS = _may("CountTickets", Resource.QUEUES, "sqs:GetQueueAttributes")
_SEND_TICKET = _may("SendTicket", Resource.QUEUES, "sqs:SendMessage")
# A signed URL can do what its signer may do.
_SIGN_ARTIFACT = _may("SignArtifact", Resource.ARTIFACTS, "s3:GetObject")
_TAKE_SLOT = _may("TakeSlot", Resource.OWNERS, "dynamodb:UpdateItem", "dynamodb:PutItem")
_FREE_SLOT = _may("FreeSlot", Resource.OWNERS, "dynamodb:UpdateItem")
_LIST_ARTIFACTS = _may("ListArtifacts", Resource.BUCKET, "s3:ListBucket")
_DELETE_ARTIFACTS = _may("DeleteArtifacts", Resource.ARTIFACTS, "s3:DeleteObject")
_DELETE_JOB = _may("DeleteJob", Resource.JOBS, "dynamodb:DeleteItem")
_FOLLOW_STREAM = _may(
    "FollowStream",
    Resource.JOBS_STREAM,
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
)
_FIND_STREAM = _may("FindStream", Resource.ANY, "dynamodb:ListStreams")
_POST_TO_SOCKET = _may("PostToSocket", Resource.SOCKETS, "execute-api:ManageConnections")
_CLOSE_CONNECTION = (
    _may("GetConnection", Resource.CONNECTIONS, "dynamodb:GetItem"),
    _may("CloseConnection", Resource.CONNECTIONS, "dynamodb:DeleteItem"),
)

# What accepting a job takes, whichever way it was posted.
_ACCEPT = (
    _may("StoreRequest", Resource.JOBS, "dynamodb:BatchWriteItem"),
    _may("AddJob", Resource.JOBS, "dynamodb:PutItem"),
    _CHANGE_JOB,  # a replay that finds the job overdue expires it
    _SEND_TICKET,
    _TAKE_SLOT,
    _READ_JOBS,  # those that hold the slots of an owner who is full
    _may("LookAtUpload", Resource.UPLOADS, "s3:GetObject"),
    _may("TellMissingUpload", Resource.BUCKET, "s3:ListBucket"),
)
# The answer may be the ended job.
_SUBMIT = (*_ACCEPT, _GET_JOB, _READ_JOB, _SIGN_ARTIFACT)

FUNCTION_GRANTS: Mapping[str, tuple[Grant, ...]] = MappingProxyType(
    {
        "AuthorizeHttp": (_READ_KEY,),
        "AuthorizeSocket": (
            _READ_KEY,
            _may("TakeTicket", Resource.CONNECTIONS, "dynamodb:DeleteItem"),
        ),
        "SubmitJob": _SUBMIT,
        "Generate": _SUBMIT,
        "RetryJob": (
            *_ACCEPT,
            _GET_JOB,  # the graph of the job that is retried
            _READ_JOB,
        ),
        "GetJob": (
            _READ_JOB,
            _CHANGE_JOB,
            _SIGN_ARTIFACT,
            _COUNT_TICKETS,
        ),
        "ListEvents": (_READ_JOB, _CHANGE_JOB),
        "ListJobs": (
            _may("PageJobs", Resource.JOBS_BY_OWNER, "dynamodb:Query"),
            _READ_JOBS,
            _CHANGE_JOB,
        ),
        "CancelJob": (
            _GET_JOB,
            _CHANGE_JOB,
            # to purge
            _READ_JOB,
            _DELETE_JOB,
            _LIST_ARTIFACTS,
            _DELETE_ARTIFACTS,
        ),
        "CreateUpload": (_may("SignUpload", Resource.UPLOADS, "s3:PutObject"),),
        "CreateSocketPass": (_may("StoreTicket", Resource.CONNECTIONS, "dynamodb:PutItem"),),
        "ListModels": (),
        "GetUsage": (_may("ReadUsage", Resource.OWNERS, "dynamodb:Query"),),
        "GetMetrics": (
            _may("ReadTotals", Resource.OWNERS, "dynamodb:Query"),
            _may("FindWorkers", Resource.JOBS, "dynamodb:Query"),
            _COUNT_TICKETS,
        ),
        "Health": (),
        "ShowOpenapi": (),
        "ShowDocs": (),
        "UnknownRoute": (),
        "SocketConnect": (
            _may("OpenConnection", Resource.CONNECTIONS, "dynamodb:PutItem"),
            _may("GreetConnection", Resource.GREETER, "lambda:InvokeFunction"),
        ),
        "SocketDisconnect": _CLOSE_CONNECTION,
        "SocketSubscribe": (
            *_CLOSE_CONNECTION,
            _may("Subscribe", Resource.CONNECTIONS, "dynamodb:PutItem", "dynamodb:UpdateItem"),
            _GET_JOB,
            _may("WatchJob", Resource.JOBS, "dynamodb:UpdateItem"),
            _READ_JOB,  # with its artifacts, where it has ended
            _SIGN_ARTIFACT,
            _POST_TO_SOCKET,
        ),
        "PushUpdates": (
            _FOLLOW_STREAM,
            _FIND_STREAM,
            _may("ReportUndelivered", Resource.UNDELIVERED_UPDATES, "sqs:SendMessage"),
            _may("FindSubscribers", Resource.CONNECTIONS, "dynamodb:Query"),
            *_CLOSE_CONNECTION,
            _may("DropSubscription", Resource.CONNECTIONS, "dynamodb:UpdateItem"),
            _FREE_SLOT,
            _may("CountEnds", Resource.OWNERS, "dynamodb:PutItem"),
            _READ_JOB,
            _SIGN_ARTIFACT,
            _POST_TO_SOCKET,
        ),
        "SweepJobs": (
            _may("FindDueJobs", Resource.JOBS_BY_DUE, "dynamodb:Query"),
            _READ_JOBS,
            _CHANGE_JOB,
            _SEND_TICKET,
            _READ_JOB,  # a job's sibling items, to delete them too
            _DELETE_JOB,
            _LIST_ARTIFACTS,
            _DELETE_ARTIFACTS,
            _may("FindSlots", Resource.OWNERS, "dynamodb:Query"),
            _FREE_SLOT,
            _may("FindSockets", Resource.CONNECTIONS_BY_KEY, "dynamodb:Query"),
            _READ_KEY,  # the switches
            _may("ReadKeys", Resource.KEYS, "dynamodb:BatchGetItem"),
            _POST_TO_SOCKET,
            *_CLOSE_CONNECTION,
        ),
        "RedriveTickets": (
            _may(
                "FollowDeadLetters",
                Resource.DEAD_LETTERS,
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
            ),
            _GET_JOB,
            _CHANGE_JOB,
            _SEND_TICKET,
        ),
    }
)

WORKER_GRANTS = (
    _GET_JOB,  # the row, and its graph
    _CHANGE_JOB,
    _may("StoreArtifactList", Resource.JOBS, "dynamodb:PutItem"),
    _may(
        "TakeTickets",
        Resource.QUEUES,
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
    ),
    _may("FetchUpload", Resource.UPLOADS, "s3:GetObject"),
    _may("FetchModel", Resource.MODELS, "s3:GetObject"),
    _may("StoreArtifact", Resource.ARTIFACTS, "s3:PutObject", "s3:AbortMultipartUpload"),
    _may("ProtectTask", Resource.TASKS, "ecs:UpdateTaskProtection"),
)

PULL_IMAGE = (
    _may("LogInToRegistry", Resource.ANY, "ecr:GetAuthorizationToken"),
    _may(
        "PullImage",
        Resource.IMAGE,
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    ),
)

SCALER_GRANTS = (
    _may("ReadDepths", Resource.QUEUES, "sqs:GetQueueAttributes"),
    _may("ReadWaits", Resource.ANY, "cloudwatch:GetMetricData"),
    _may("ReadFleet", Resource.FLEET, "ecs:DescribeServices"),
    _may("ResizeFleet", Resource.FLEET, "ecs:UpdateService"),
    _may("Remember", Resource.SCALING, "dynamodb:GetItem", "dynamodb:PutItem"),
    _FOLLOW_STREAM,
    _FIND_STREAM,
)

# Purposes that no run on one machine needs, and why: the platform acts on them and not our code, or
# an emulator does not ask for them. Every other is taken away in turn by tests/e2e.
UNUSED_LOCALLY: Mapping[str, str] = MappingProxyType(
    {
        "WriteLogs": "Lambda's own runtime, and ECS's log driver, write the log",
        "SendTraces": "Lambda's own agent sends the traces",
        "FollowStream": "Lambda's poller reads the stream",
        "FindStream": "Lambda's poller finds the stream",
        "FollowDeadLetters": "Lambda's poller reads the queue",
        "ReportUndelivered": "Lambda's poller reports what it gave up on",
        "TellMissingUpload": "without it S3 answers 403 for a missing object, the emulator 404",
        "ProtectTask": "the ECS agent asks for it, and only on AWS there is one",
        "LogInToRegistry": "the ECS agent pulls the image; here the worker is a process",
        "PullImage": "the ECS agent pulls the image; here the worker is a process",
    }
)

# Why a purpose may name more than one resource by a wildcard.
WILDCARD_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "SendTraces": "X-Ray's write actions support no resource",
        "FindStream": "ListStreams supports no resource",
        "SignArtifact": "each file's key is made when the file is",
        "StoreArtifact": "each file's key is made when the file is",
        "LookAtUpload": "each file's key is made when its form is",
        "SignUpload": "each file's key is made when its form is",
        "FetchUpload": "each file's key is made when its form is",
        "FetchModel": "the lock in the worker's image names the models",
        "DeleteArtifacts": "each file's key is made when the file is",
        "LogInToRegistry": "GetAuthorizationToken supports no resource",
        "ReadWaits": "GetMetricData supports no resource",
        "ProtectTask": "ECS makes a task's id when it starts the task",
        "PostToSocket": "the gateway makes a connection's id when it opens",
    }
)
