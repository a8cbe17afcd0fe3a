"""Every Lambda function of a deployment, one row each: routes, settings, grants, limits, triggers.

The stacks are built from these rows, and the tests' gateway and smoke runs read them too. A new GET
route is a handler in functions/, a row here, an operation with its models in the contract, and a
method of the client.

Nothing here imports the CDK, so that tests can read the rows without starting Node. The file may
grow beyond 300 lines, because it is one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from comfyline.service.settings import (
    ArtifactsBucket,
    ConnectionsTable,
    EngineSettings,
    GreeterSettings,
    JobDefaults,
    JobsTable,
    KeysTable,
    MeasuredSettings,
    OwnersTable,
    ParkingQueue,
    QueueSettings,
    RelaySettings,
    ScalerSettings,
    ScalingTable,
    SocketSettings,
    UnknownRouteSettings,
    WaitSettings,
    WakeSettings,
)
from infra import grants
from infra.declarations import (
    AsyncCalls,
    EveryMinute,
    Function,
    JobsStream,
    Queue,
    Route,
    TaskCrashes,
)
from infra.grants import Resource, may

# The CPU of these is the bottleneck: they sign requests and speak TLS in many threads. For such
# work a second at twice the memory costs as much as two.
BUSY_MEMORY = 1769
# Every request with a key waits for an authorizer, so a burst elsewhere must not stop them.
RESERVED_FOR_HTTP, RESERVED_FOR_SOCKETS = 50, 20
# One round and, if it hangs, the next.
RESERVED_FOR_ROUNDS = 2
# API Gateway waits 10 s for an authorizer.
AUTHORIZER_TIMEOUT = 8
# A caller may ask to wait for 25 s; the gateway gives up after 30 s.
WAITING_TIMEOUT = 29
# At worst the 100 changes of a batch are sent one after another, each with up to 2 s for a slow
# client's socket.
PUSH_TIMEOUT = 240
# At worst each of 250 subscribers takes 2 s for each of some messages, 32 of them at once.
CHUNK_TIMEOUT = 120
# Twice the time of a batch in which the SDK has to retry every call.
SETTLE_TIMEOUT = 180
# Shorter than the interval between two rounds, so that they never overlap.
SWEEP_TIMEOUT = 55
# Three calls of some milliseconds for each ticket, some of them retried.
REDRIVE_TIMEOUT = 30
# Six calls of some milliseconds, one of them retried.
SCALER_TIMEOUT = 20


_ROW_OF_A_JOB: Mapping[str, Any] = {"Keys": {"sk": {"S": ["job"]}}}
_NEW_JOB = {"eventName": ["INSERT"], "dynamodb": _ROW_OF_A_JOB}
_CHANGE_OF_A_WATCHED_JOB = {
    "dynamodb": {**_ROW_OF_A_JOB, "NewImage": {"watched_until": {"N": [{"exists": True}]}}}
}
_END_OF_A_JOB = {
    "dynamodb": {
        **_ROW_OF_A_JOB,
        "OldImage": {"status": {"S": ["queued", "running"]}},
        "NewImage": {"status": {"S": ["succeeded", "failed", "canceled", "expired"]}},
    }
}

# What accepting a job needs.
_SUBMIT = (
    *(QueueSettings, MeasuredSettings, JobDefaults),
    *(JobsTable, OwnersTable, ArtifactsBucket, EngineSettings),
)

_ROWS = (
    # --- authorizers ------------------------------------------------------------------------------
    Function(
        name="AuthorizeHttp",
        handler="authorize.http_handler",
        settings=(KeysTable,),
        grants=(grants.READ_KEY,),
        timeout=AUTHORIZER_TIMEOUT,
        reserved=RESERVED_FOR_HTTP,
    ),
    Function(
        name="AuthorizeSocket",
        handler="authorize.socket_handler",
        settings=(KeysTable, ConnectionsTable),
        grants=(
            grants.READ_KEY,
            may("TakeSocketPass", Resource.CONNECTIONS, "dynamodb:DeleteItem"),
        ),
        timeout=AUTHORIZER_TIMEOUT,
        reserved=RESERVED_FOR_SOCKETS,
    ),
    # --- the HTTP API -----------------------------------------------------------------------------
    Function(
        name="SubmitJob",
        routes=(Route("POST", "/api/v1/jobs"),),
        settings=(*_SUBMIT, WaitSettings),
        grants=grants.SUBMIT_JOB,
        timeout=WAITING_TIMEOUT,
    ),
    Function(
        name="ListJobs",
        routes=(Route("GET", "/api/v1/jobs"),),
        settings=(JobsTable,),
        grants=(
            may("PageJobs", Resource.JOBS_BY_OWNER, "dynamodb:Query"),
            grants.READ_JOBS,
            grants.CHANGE_JOB,
        ),
    ),
    Function(
        name="GetJob",
        routes=(Route("GET", "/api/v1/jobs/{job_id}"),),
        settings=(QueueSettings, JobsTable, ArtifactsBucket),
        grants=(grants.READ_JOB, grants.CHANGE_JOB, grants.SIGN_ARTIFACT, grants.COUNT_TICKETS),
    ),
    Function(
        name="ListArtifacts",
        routes=(Route("GET", "/api/v1/jobs/{job_id}/artifacts"),),
        settings=(JobsTable, ArtifactsBucket),
        grants=(grants.READ_JOB, grants.CHANGE_JOB, grants.SIGN_ARTIFACT),
    ),
    Function(
        name="CancelJob",
        routes=(Route("DELETE", "/api/v1/jobs/{job_id}"),),
        settings=(MeasuredSettings, JobsTable, OwnersTable, ArtifactsBucket),
        grants=(
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.FREE_SLOT,
            # These are for purging a job.
            grants.COUNT_ENDS,
            grants.READ_JOB,
            grants.DELETE_JOB,
            grants.LIST_ARTIFACTS,
            grants.DELETE_ARTIFACTS,
        ),
    ),
    Function(
        name="RetryJob",
        routes=(Route("POST", "/api/v1/jobs/{job_id}/retry"),),
        settings=_SUBMIT,
        # The last two read the graph of the job that is retried.
        grants=(*grants.ACCEPT_JOB, grants.GET_JOB, grants.READ_JOB),
    ),
    Function(
        name="ListEvents",
        routes=(Route("GET", "/api/v1/jobs/{job_id}/events"),),
        settings=(JobsTable,),
        grants=(grants.READ_JOB, grants.CHANGE_JOB),
    ),
    Function(
        name="Generate",
        routes=(Route("POST", "/api/v1/generate"),),
        settings=(*_SUBMIT, WaitSettings),
        grants=grants.SUBMIT_JOB,
        timeout=WAITING_TIMEOUT,
    ),
    Function(
        name="CreateUpload",
        routes=(Route("POST", "/api/v1/uploads"),),
        settings=(ArtifactsBucket,),
        grants=(may("SignUpload", Resource.UPLOADS, "s3:PutObject"),),
    ),
    Function(
        name="CreateSocketPass",
        routes=(Route("POST", "/api/v1/ws-tickets"),),
        settings=(ConnectionsTable,),
        grants=(may("StoreSocketPass", Resource.CONNECTIONS, "dynamodb:PutItem"),),
    ),
    Function(name="ListModels", routes=(Route("GET", "/api/v1/models"),)),
    Function(
        name="GetUsage",
        routes=(Route("GET", "/api/v1/usage"),),
        settings=(OwnersTable,),
        grants=(may("ReadUsage", Resource.OWNERS, "dynamodb:Query"),),
    ),
    Function(
        name="GetMetrics",
        routes=(Route("GET", "/metrics"),),
        settings=(QueueSettings, JobsTable, OwnersTable),
        grants=(
            may("ReadTotals", Resource.OWNERS, "dynamodb:Query"),
            may("FindWorkers", Resource.JOBS, "dynamodb:Query"),
            grants.COUNT_TICKETS,
        ),
    ),
    Function(name="Health", routes=(Route("GET", "/healthz", is_open=True),)),
    Function(
        name="ShowOpenapi",
        handler="show_docs.openapi_handler",
        routes=(Route("GET", "/openapi.json", is_open=True),),
    ),
    Function(
        name="ShowDocs",
        handler="show_docs.page_handler",
        folder="functions/_viewer",
        routes=(Route("GET", "/docs", is_open=True), Route("GET", "/docs/{file}", is_open=True)),
    ),
    # Every request that no route takes.
    Function(name="UnknownRoute", settings=(UnknownRouteSettings,)),
    # --- the WebSocket API ------------------------------------------------------------------------
    Function(
        name="SocketSubscribe",
        # $default answers every other message with an error message.
        socket_routes=("subscribe", "unsubscribe", "ping", "$default"),
        settings=(SocketSettings, MeasuredSettings, JobsTable, ArtifactsBucket),
        grants=(
            *grants.CLOSE_CONNECTION,
            may("Subscribe", Resource.CONNECTIONS, "dynamodb:PutItem", "dynamodb:UpdateItem"),
            grants.GET_JOB,
            may("WatchJob", Resource.JOBS, "dynamodb:UpdateItem"),
            grants.READ_JOB,  # with its artifacts, if it has ended
            grants.SIGN_ARTIFACT,
            grants.POST_TO_SOCKET,
        ),
        # SocketConnect calls it for the greeting, which is stale after seconds.
        triggers=(AsyncCalls(),),
    ),
    Function(
        name="SocketConnect",
        socket_routes=("$connect",),
        settings=(ConnectionsTable, GreeterSettings),
        grants=(
            may("OpenConnection", Resource.CONNECTIONS, "dynamodb:PutItem"),
            may("GreetConnection", Resource.GREETER, "lambda:InvokeFunction"),
        ),
    ),
    Function(
        name="SocketDisconnect",
        socket_routes=("$disconnect",),
        settings=(ConnectionsTable,),
        grants=grants.CLOSE_CONNECTION,
    ),
    # --- changes of jobs, dead letters, the clock -------------------------------------------------
    Function(
        name="PushChunk",
        settings=(SocketSettings, MeasuredSettings),
        grants=(
            *grants.CLOSE_CONNECTION,
            may("DropSubscription", Resource.CONNECTIONS, "dynamodb:UpdateItem"),
            grants.POST_TO_SOCKET,
        ),
        # PushUpdates calls it for each part of the subscribers of a job that has very many.
        # A client that is not reached polls.
        triggers=(AsyncCalls(),),
        timeout=CHUNK_TIMEOUT,
        memory=BUSY_MEMORY,
    ),
    Function(
        name="PushUpdates",
        settings=(SocketSettings, MeasuredSettings, JobsTable, ArtifactsBucket, RelaySettings),
        grants=(
            may("RelayMessages", Resource.RELAY, "lambda:InvokeFunction"),
            *grants.FOLLOW_STREAM,
            may("FindSubscribers", Resource.CONNECTIONS, "dynamodb:Query"),
            *grants.CLOSE_CONNECTION,
            may("DropSubscription", Resource.CONNECTIONS, "dynamodb:UpdateItem"),
            grants.READ_JOB,
            grants.SIGN_ARTIFACT,
            grants.POST_TO_SOCKET,
        ),
        triggers=(
            JobsStream(
                filters=(_CHANGE_OF_A_WATCHED_JOB,),
                batch_size=100,
                parallel_batches=10,  # the most that Lambda allows
                reports_failures=True,
                # A client that receives nothing for 30 s polls over HTTP, so older news is worth
                # nothing and is dropped. Without a bound, one record that always fails would hold
                # up its shard for 24 h.
                retries=3,
                max_age_seconds=300,
            ),
        ),
        timeout=PUSH_TIMEOUT,
        memory=BUSY_MEMORY,
    ),
    Function(
        name="SettleJobs",
        settings=(MeasuredSettings, JobsTable, OwnersTable, ParkingQueue, WakeSettings),
        grants=(
            *grants.FOLLOW_STREAM,
            grants.FREE_SLOT,
            grants.COUNT_ENDS,
            grants.CHANGE_JOB,  # the note that a job is settled
            grants.GET_JOB,  # the job of a parked step
            may("Park", Resource.PARKING, "sqs:SendMessage"),
            may("FollowParked", Resource.PARKING, *grants.READ_QUEUE),
            may("LimitWakes", Resource.SCALING, "dynamodb:GetItem", "dynamodb:UpdateItem"),
            may("WakeScaler", Resource.SCALER, "lambda:InvokeFunction"),
        ),
        triggers=(
            # No bound on retries and age: nothing that this function does may be lost.
            JobsStream(
                filters=(_END_OF_A_JOB,),
                filters_for_scaler=(_NEW_JOB,),
                batch_size=100,
                window_seconds=1,  # jobs that end together are counted by fewer writes
                parallel_batches=4,  # more would meet on the rows of the totals
                reports_failures=True,
            ),
            Queue(Resource.PARKING, batch_size=10),
        ),
        timeout=SETTLE_TIMEOUT,
        # The stream does not carry the trace of a job, so these traces would be connected with
        # nothing. Lambda samples the first call of each second: up to $10 for a million jobs.
        is_traced=False,
    ),
    Function(
        name="SweepJobs",
        settings=(
            QueueSettings,
            SocketSettings,
            MeasuredSettings,
            KeysTable,
            JobsTable,
            OwnersTable,
            ArtifactsBucket,
        ),
        grants=(
            may("FindDueJobs", Resource.JOBS_BY_DUE, "dynamodb:Query"),
            grants.READ_JOBS,
            grants.CHANGE_JOB,
            grants.SEND_TICKET,
            grants.COUNT_TICKETS,
            grants.READ_JOB,  # a job's sibling items, which are deleted with it
            grants.DELETE_JOB,
            grants.LIST_ARTIFACTS,
            grants.DELETE_ARTIFACTS,
            may("FindSlots", Resource.OWNERS, "dynamodb:Query"),
            grants.FREE_SLOT,
            grants.COUNT_ENDS,
            may("FindSockets", Resource.CONNECTIONS_BY_KEY, "dynamodb:Query"),
            grants.READ_KEY,  # the switches
            may("ReadKeys", Resource.KEYS, "dynamodb:BatchGetItem"),
            grants.POST_TO_SOCKET,
            *grants.CLOSE_CONNECTION,
        ),
        triggers=(EveryMinute(),),
        timeout=SWEEP_TIMEOUT,
        memory=BUSY_MEMORY,
        reserved=RESERVED_FOR_ROUNDS,
    ),
    Function(
        name="RedriveTickets",
        settings=(QueueSettings, MeasuredSettings, JobsTable),
        grants=(
            may("FollowDeadLetters", Resource.DEAD_LETTERS, *grants.READ_QUEUE),
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.SEND_TICKET,
        ),
        triggers=(Queue(Resource.DEAD_LETTERS, batch_size=10),),
        timeout=REDRIVE_TIMEOUT,
    ),
    # --- the fleet --------------------------------------------------------------------------------
    Function(
        name="ScaleWorkers",
        stack="scaler",
        settings=(QueueSettings, MeasuredSettings, ScalerSettings),
        grants=(
            may("ReadDepths", Resource.QUEUES, "sqs:GetQueueAttributes"),
            may("FindWorkers", Resource.JOBS, "dynamodb:Query", partition_keys="workers"),
            may("RetireWorkers", Resource.JOBS, "dynamodb:PutItem", partition_keys="workers"),
            may("ReadFleet", Resource.FLEET, "ecs:DescribeServices"),
            may("ResizeFleet", Resource.FLEET, "ecs:UpdateService"),
            may("RememberNeeds", Resource.SCALING, "dynamodb:GetItem", "dynamodb:PutItem"),
        ),
        triggers=(
            EveryMinute(),
            # SettleJobs calls it when a job is new. The next minute's round is the retry, and it
            # covers every older job.
            AsyncCalls(),
        ),
        timeout=SCALER_TIMEOUT,
        reserved=RESERVED_FOR_ROUNDS,
    ),
    Function(
        name="CountCrashes",
        stack="scaler",
        settings=(MeasuredSettings, ScalingTable),
        grants=(may("CountCrash", Resource.SCALING, "dynamodb:UpdateItem"),),
        triggers=(TaskCrashes(),),
    ),
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({row.name: row for row in _ROWS})
# Of the HTTP API: each route, and the function behind it.
ROUTES: Mapping[Route, Function] = MappingProxyType(
    {route: row for row in _ROWS for route in row.routes}
)
