"""The functions of the HTTP API: API v1, the pages, and the answer of no route."""

from __future__ import annotations

from comfyline.service.settings import (
    ArtifactsBucket,
    EngineSettings,
    JobDefaults,
    JobsTable,
    MeasuredSettings,
    OwnersTable,
    PublicAddress,
    QueueSettings,
    SignInSettings,
    SocketAddress,
    UnknownRouteSettings,
    WaitSettings,
)
from infra import grants
from infra.declarations import (
    CONSOLE_FOLDER,
    WAITING_TIMEOUT,
    Function,
    Route,
)
from infra.grants import Resource, may

# What accepting a job needs.
SUBMIT_SETTINGS = (
    *(QueueSettings, MeasuredSettings, JobDefaults),
    *(JobsTable, OwnersTable, ArtifactsBucket, EngineSettings),
)

ROWS = (
    Function(
        name="SubmitJob",
        routes=(Route("POST", "/api/v1/jobs"),),
        settings=(*SUBMIT_SETTINGS, WaitSettings),
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
        routes=(
            Route("GET", "/api/v1/jobs/{job_id}"),
            Route("GET", "/api/v1/jobs/{job_id}/graph"),
        ),
        settings=(QueueSettings, JobsTable, ArtifactsBucket),
        grants=(
            grants.READ_JOB,
            grants.CHANGE_JOB,
            grants.SIGN_ARTIFACT,
            grants.COUNT_TICKETS,
            grants.GET_JOB,  # the graph
        ),
    ),
    Function(
        name="ListArtifacts",
        routes=(Route("GET", "/api/v1/jobs/{job_id}/artifacts"),),
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
        settings=SUBMIT_SETTINGS,
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
        settings=(*SUBMIT_SETTINGS, WaitSettings),
        grants=grants.SUBMIT_JOB,
        timeout=WAITING_TIMEOUT,
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
        settings=(SocketAddress, ArtifactsBucket, SignInSettings),
        routes=tuple(
            Route(method, path, is_open=True)
            for path in ("/console", "/console/{file}")
            for method in ("GET", "HEAD")
        ),
    ),
    # Every request that no route takes.
    Function(name="UnknownRoute", settings=(UnknownRouteSettings,)),
)
