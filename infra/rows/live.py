"""The functions of the WebSocket API, and those that send messages to its connections."""

from __future__ import annotations

from comfyline.service.settings import (
    ArtifactsBucket,
    ConnectionsTable,
    GreeterSettings,
    JobsTable,
    KeysTable,
    MeasuredSettings,
    OwnersTable,
    RelaySettings,
    SocketSettings,
)
from infra import grants
from infra.declarations import (
    BUSY_MEMORY_MB,
    ROW_OF_A_JOB,
    AsyncCalls,
    Function,
    JobsStream,
)
from infra.grants import Resource, may

# At worst the 100 changes of a batch are sent one after another, each with up to 2 s for a slow
# client's socket.
PUSH_TIMEOUT = 240
# At worst each of 250 subscribers takes 2 s for each of some messages, 32 of them at once.
CHUNK_TIMEOUT = 120

_CHANGES_OF_WATCHED_JOBS = tuple(
    {"dynamodb": {**ROW_OF_A_JOB, "NewImage": {mark: {"N": [{"exists": True}]}}}}
    for mark in ("watched_until", "owner_watched_until")
)

ROWS = (
    Function(
        name="SocketSubscribe",
        # $default answers every other message with an error message.
        socket_routes=("subscribe", "unsubscribe", "ping", "$default"),
        settings=(
            *(SocketSettings, MeasuredSettings, JobsTable, ArtifactsBucket),
            *(OwnersTable, KeysTable),
        ),
        grants=(
            grants.COUNT_CALLS,
            # Of the keys table, only the marks of followed owners.
            may("WatchOwner", Resource.KEYS, "dynamodb:UpdateItem", partition_keys="owner#*"),
            may("PageJobs", Resource.JOBS_BY_OWNER, "dynamodb:Query"),
            grants.READ_JOBS,
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
        settings=(ConnectionsTable, GreeterSettings, OwnersTable),
        grants=(
            grants.COUNT_CALLS,
            may("CountSockets", Resource.CONNECTIONS_BY_KEY, "dynamodb:Query"),
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
        memory=BUSY_MEMORY_MB,
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
                filters=_CHANGES_OF_WATCHED_JOBS,
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
        memory=BUSY_MEMORY_MB,
    ),
)
