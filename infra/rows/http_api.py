"""The functions of the HTTP API, and the two authorizers."""

from __future__ import annotations

from dataclasses import replace

from comfyline.service.settings import (
    ArtifactsBucket,
    BudgetSettings,
    ConnectionsTable,
    EngineSettings,
    JobDefaults,
    JobsTable,
    KeysTable,
    MeasuredSettings,
    OwnersTable,
    PublicAddress,
    QueueSettings,
    SocketAddress,
    UnknownRouteSettings,
    WaitSettings,
)
from infra import grants
from infra.declarations import (
    BUSY_MEMORY_MB,
    CONSOLE_FOLDER,
    Function,
    Route,
)
from infra.grants import Resource, may

# Every request with a key waits for an authorizer, so a burst elsewhere must not stop them.
RESERVED_FOR_HTTP, RESERVED_FOR_SOCKETS = 50, 20
# API Gateway waits 10 s for an authorizer.
AUTHORIZER_TIMEOUT = 8
# A caller may ask to wait for 25 s; the gateway gives up after 30 s.
WAITING_TIMEOUT = 29

# What accepting a job needs.
_SUBMIT = (
    *(QueueSettings, MeasuredSettings, JobDefaults),
    *(JobsTable, OwnersTable, ArtifactsBucket, EngineSettings),
)

_ROWS = (
    Function(
        name="AuthorizeHttp",
        handler="authorize.http_handler",
        settings=(KeysTable, ConnectionsTable),
        grants=(grants.READ_KEY, grants.READ_TOKEN),
        timeout=AUTHORIZER_TIMEOUT,
        reserved=RESERVED_FOR_HTTP,
    ),
    Function(
        name="AuthorizeSocket",
        handler="authorize.socket_handler",
        settings=(KeysTable, ConnectionsTable),
        grants=(
            grants.READ_KEY,
            grants.READ_TOKEN,
            may("TakeSocketPass", Resource.CONNECTIONS, "dynamodb:DeleteItem"),
        ),
        timeout=AUTHORIZER_TIMEOUT,
        reserved=RESERVED_FOR_SOCKETS,
    ),
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
        settings=(JobsTable, ArtifactsBucket),
        grants=(
            grants.PAGE_JOBS,
            grants.READ_JOBS,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
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
        name="GetArtifact",
        routes=(
            Route("GET", "/api/v1/jobs/{job_id}/artifacts/{number}"),
            Route("HEAD", "/api/v1/jobs/{job_id}/artifacts/{number}"),
        ),
        settings=(JobsTable, ArtifactsBucket),
        grants=(grants.READ_JOB, grants.CHANGE_JOB, grants.SIGN_ARTIFACT),
    ),
    Function(
        name="CancelJob",
        routes=(
            Route("DELETE", "/api/v1/jobs/{job_id}"),
            Route("POST", "/api/v2/jobs/{job_id}/cancel"),
        ),
        settings=(MeasuredSettings, JobsTable, OwnersTable, ArtifactsBucket, PublicAddress),
        grants=(
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.FREE_SLOT,
            # These are for showing the job in Comfy's API.
            grants.READ_JOB,
            grants.SIGN_ARTIFACT,
            # These are for purging a job.
            grants.COUNT_ENDS,
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
    # Comfy API v2. A function serves the routes that need the same permissions.
    Function(
        name="SubmitComfyJob",
        routes=(Route("POST", "/api/v2/jobs"),),
        settings=(*_SUBMIT, PublicAddress),
        grants=(
            *grants.ACCEPT_JOB,
            # These find the job of a key, and the tickets before the new job.
            grants.GET_JOB,
            grants.COUNT_TICKETS,
            # These copy an output of a job that the new job uses.
            grants.READ_JOB,
            grants.SIGN_ARTIFACT,
            grants.STORE_UPLOAD,
        ),
    ),
    Function(
        name="ReadComfyJobs",
        routes=(
            Route("GET", "/api/v2/jobs"),
            Route("GET", "/api/v2/jobs/{job_id}"),
            Route("GET", "/api/v2/jobs/{job_id}/workflow"),
            Route("GET", "/api/v2/jobs/{job_id}/logs"),
        ),
        settings=(QueueSettings, JobsTable, ArtifactsBucket, PublicAddress),
        grants=(
            grants.PAGE_JOBS,
            grants.READ_JOBS,
            grants.GET_JOB,
            grants.READ_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
            grants.COUNT_TICKETS,
        ),
        timeout=WAITING_TIMEOUT,  # it repeats reads, since clients of Comfy do not
    ),
    Function(
        name="FollowComfyJob",
        routes=(Route("GET", "/api/v2/jobs/{job_id}/events"),),
        settings=(
            *(QueueSettings, JobsTable, OwnersTable, ArtifactsBucket, WaitSettings, PublicAddress),
        ),
        grants=(
            grants.READ_JOB,
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
            grants.COUNT_TICKETS,
            grants.TAKE_PLACE,
        ),
        timeout=WAITING_TIMEOUT,
    ),
    Function(
        name="ServeComfyAssets",
        routes=(
            Route("POST", "/api/v2/assets"),
            Route("POST", "/api/v2/assets/from-hash"),
            Route("HEAD", "/api/v2/assets/by-hash/{hash}"),
            Route("GET", "/api/v2/assets/{asset_id}"),
            Route("GET", "/api/v2/assets/{asset_id}/content"),
            Route("DELETE", "/api/v2/assets/{asset_id}"),
        ),
        settings=(JobsTable, OwnersTable, ArtifactsBucket, EngineSettings),
        grants=(
            grants.KEEP_ASSETS,
            grants.STORE_UPLOAD,
            grants.CHECK_UPLOAD,
            grants.FIND_MISSING_UPLOAD,
            grants.READ_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
        ),
        timeout=WAITING_TIMEOUT,  # it repeats reads, and hashes files of 100 MB
        memory=BUSY_MEMORY_MB,  # hashing and copying files
    ),
    Function(
        name="CreateUpload",
        routes=(Route("POST", "/api/v1/uploads"),),
        settings=(ArtifactsBucket, OwnersTable),
        grants=(
            may("SignUpload", Resource.UPLOADS, "s3:PutObject"),
            may("ClaimAsset", Resource.OWNERS, "dynamodb:PutItem", partition_keys="assets#*"),
        ),
    ),
    Function(
        name="CreateToken",
        routes=(Route("POST", "/api/v1/tokens"),),
        settings=(ConnectionsTable,),
        grants=(
            may("StoreToken", Resource.CONNECTIONS, "dynamodb:PutItem", partition_keys="token#*"),
        ),
    ),
    Function(
        name="CreateSocketPass",
        routes=(Route("POST", "/api/v1/ws-tickets"),),
        settings=(SocketAddress,),
        grants=(
            may(
                "StoreSocketPass",
                Resource.CONNECTIONS,
                "dynamodb:PutItem",
                partition_keys="pass#*",
            ),
        ),
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
        name="ShowAsyncapi",
        handler="show_docs.asyncapi_handler",
        routes=(Route("GET", "/asyncapi.json", is_open=True),),
        settings=(SocketAddress,),
    ),
    Function(
        name="ShowDocs",
        handler="show_docs.page_handler",
        folder="functions/_viewer",
        routes=tuple(Route("GET", path, is_open=True) for path in ("/", "/docs", "/docs/{file}")),
    ),
    Function(
        name="ShowConsole",
        folder=CONSOLE_FOLDER,
        # Its Content-Security-Policy names the bucket and the WebSocket API.
        settings=(SocketAddress, ArtifactsBucket),
        routes=(
            Route("GET", "/console", is_open=True),
            Route("GET", "/console/{file}", is_open=True),
        ),
    ),
    # Every request that no route takes.
    Function(name="UnknownRoute", settings=(UnknownRouteSettings,)),
)


def _with_budget(row: Function) -> Function:
    """The row with what counting its calls needs, if callers need a key for it."""
    if all(route.is_open for route in row.routes):
        return row
    settings = tuple(dict.fromkeys((*row.settings, BudgetSettings)))
    may_count = any(
        grant.resource is Resource.OWNERS and "dynamodb:UpdateItem" in grant.actions
        for grant in row.grants
    )
    granted = row.grants if may_count else (*row.grants, grants.COUNT_CALLS)
    return replace(row, settings=settings, grants=granted)


ROWS = tuple(map(_with_budget, _ROWS))
