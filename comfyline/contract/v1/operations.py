"""Every HTTP operation of API v1, with its parameters, its responses and its problem codes.

openapi.py makes the OpenAPI document from this table. A test compares the table with the routes of
the deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE, MAX_WAIT_SECONDS
from comfyline.contract.v1 import (
    access,
    admin_operations,
    key_operations,
    parameters,
    requests,
    responses,
)
from comfyline.contract.v1.examples import GRAPH
from comfyline.contract.v1.graphs import GraphView
from comfyline.contract.v1.history import EventList
from comfyline.contract.v1.operation import TAKES_A_BODY, Operation
from comfyline.contract.v1.results import ArtifactLink, ArtifactPage

# --- examples -------------------------------------------------------------------------------------

PROMPT_EXAMPLE = {"prompt": "a red fox in the snow", "steps": 20, "seed": 42}
WORKFLOW_EXAMPLE = {"workflow": GRAPH, "metadata": {"project": "foxes"}}
UPLOAD_EXAMPLE = {"name": "photo.png", "content_type": "image/png", "bytes": 12345}
TOKEN_EXAMPLE = {"user": "alice@example.com", "max_jobs": 5, "expires_in": 900}

# --- the operations -------------------------------------------------------------------------------

TAGS: Mapping[str, str] = {
    "Jobs": "Submit jobs, read them, cancel them and retry them.",
    "Files": "Send files that a workflow uses.",
    "Tokens": "Let a browser call the API without a key of yours.",
    "Live": "Follow jobs over the WebSocket. `/asyncapi.json` has its messages, and `/docs/live` "
    "shows them as a page.",
    "Service": "What the deployment offers, and how it is doing.",
    key_operations.TAG: "Make and end keys of your owner, with a key that has the scope `keys`.",
    admin_operations.TAG: "See what the whole service does, and step in. For keys with the scope "
    "`admin`; tokens are refused.",
}

_MAKES_A_JOB = ("idempotency_key_reused", "too_many_jobs", "too_many_requests", "jobs_disabled")
_submission = partial(
    Operation,
    answers={200: responses.JobView, 202: responses.JobAccepted},
    problems=(*TAKES_A_BODY, *_MAKES_A_JOB),
    parameters=(parameters.IDEMPOTENCY_KEY, parameters.PREFER),
    body={
        requests.TextToImageRequest: PROMPT_EXAMPLE,
        requests.WorkflowRequest: WORKFLOW_EXAMPLE,
    },
    headers={**parameters.LOCATION, **parameters.REPLAYED, **parameters.APPLIED},
)

_artifact = partial(
    Operation,
    answers={200: ArtifactLink, 302: None},
    problems=("job_not_found", "artifact_not_found", "invalid_request"),
    parameters=(parameters.JOB_ID, parameters.ARTIFACT_NUMBER, *parameters.ARTIFACT),
    headers=parameters.REDIRECT,
    media=("text/plain",),
)

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/api/v1/jobs"): _submission(
        "submitJob",
        "Jobs",
        "Submit a job",
        "Send either parameters (`prompt`) or a workflow (`workflow`). The answer comes at once, "
        "with the job's id. Follow the job over the WebSocket or read it again. After an answer "
        "was lost, send the same request with the same `Idempotency-Key`.",
    ),
    ("POST", "/api/v1/generate"): _submission(
        "generate",
        "Jobs",
        "Submit a job and wait for it",
        f"The same as submitting a job with `Prefer: wait={MAX_WAIT_SECONDS}`: 200 with the whole "
        "job if it ends in time, else 202. Only a limited number of requests can wait at once; "
        "beyond it the answer is 202 at once.",
    ),
    ("GET", "/api/v1/jobs"): Operation(
        "listJobs",
        "Jobs",
        "List your jobs, newest first",
        "One page of the jobs of the key's owner, without their results.",
        {200: responses.JobPage},
        ("invalid_request",),
        parameters.LIST,
    ),
    ("GET", "/api/v1/jobs/{job_id}"): Operation(
        "getJob",
        "Jobs",
        "Read a job",
        "The whole job. An ended job has its result, with freshly signed URLs of its first "
        f"{MAX_ARTIFACTS_PER_PAGE} files.",
        {200: responses.JobView},
        ("job_not_found",),
        (parameters.JOB_ID,),
    ),
    ("GET", "/api/v1/jobs/{job_id}/graph"): Operation(
        "getGraph",
        "Jobs",
        "Read the workflow of a job",
        "The workflow that the job runs, in API format. Its node ids are those in the job's "
        "progress and in its error.",
        {200: GraphView},
        ("job_not_found",),
        (parameters.JOB_ID,),
    ),
    ("DELETE", "/api/v1/jobs/{job_id}"): Operation(
        "cancelJob",
        "Jobs",
        "Cancel or purge a job",
        "A queued job is canceled at once and never runs. A running job becomes `canceling` until "
        "its worker has stopped it. A job that has ended does not change; with `purge=true` it is "
        "removed.",
        {202: responses.CancelAnswer},
        ("job_not_found", "invalid_request"),
        (parameters.JOB_ID, parameters.PURGE),
    ),
    ("POST", "/api/v1/jobs/{job_id}/retry"): Operation(
        "retryJob",
        "Jobs",
        "Retry a job that did not succeed",
        "Makes a new job from the input of one that failed, was canceled or has expired. Without "
        "an `Idempotency-Key`, repeated requests are answered by the same new job.",
        {202: responses.JobAccepted},
        ("malformed_request", "job_not_found", "job_not_retryable", *_MAKES_A_JOB),
        (parameters.JOB_ID, parameters.IDEMPOTENCY_KEY),
        headers={**parameters.LOCATION, **parameters.REPLAYED},
    ),
    ("GET", "/api/v1/jobs/{job_id}/events"): Operation(
        "listEvents",
        "Jobs",
        "List the changes of a job's state",
        "The numbered history of the job, oldest change first.",
        {200: EventList},
        ("job_not_found", "invalid_request"),
        (parameters.JOB_ID, parameters.AFTER),
    ),
    ("GET", "/api/v1/jobs/{job_id}/artifacts"): Operation(
        "listArtifacts",
        "Jobs",
        "List the files of an ended job",
        "One page of the files, in the job's order, with freshly signed URLs. The first page has "
        "the files that the job itself shows. A job that has not ended has none.",
        {200: ArtifactPage},
        ("job_not_found", "invalid_request"),
        (parameters.JOB_ID, *parameters.ARTIFACTS),
    ),
    ("GET", "/api/v1/jobs/{job_id}/artifacts/{number}"): _artifact(
        "getArtifact",
        "Files",
        "Fetch one file of an ended job",
        "302 to a freshly signed URL of the file: follow it without the `Authorization` header. "
        "With `Accept: application/json` 200 with the URL itself, for `fetch` in a page. The "
        "address of this operation stays the same, so it can be kept.",
    ),
    ("HEAD", "/api/v1/jobs/{job_id}/artifacts/{number}"): _artifact(
        "headArtifact",
        "Files",
        "Look for one file of an ended job",
        "The same as GET, without a body. The URL in `Location` is for HEAD.",
    ),
    ("POST", "/api/v1/uploads"): Operation(
        "createUpload",
        "Files",
        "Get a form to upload a file with",
        "Post the form's `fields`, and after them the file as `file`, to its `url`. Then name the "
        'file in a workflow\'s `inputs`, for example `{"10.image": "upload:<upload_id>"}`.',
        {201: responses.UploadAccepted},
        TAKES_A_BODY,
        body={requests.UploadRequest: UPLOAD_EXAMPLE},
    ),
    ("POST", "/api/v1/tokens"): Operation(
        "createToken",
        "Tokens",
        "Make a short-lived token for a browser",
        "Your backend calls this with its key and hands the token to a page, which sends it as it "
        "would send a key. The token acts in the name of one `user` of yours: it submits jobs, and "
        "reads, follows, cancels and retries those of the same user; it uploads files for them. It "
        "cannot list jobs, purge them, read usage or make tokens. It stops working with your key, "
        "at the latest 30 s after the key was disabled, and its WebSockets are closed within "
        "about a minute.",
        {201: responses.TokenResponse},
        TAKES_A_BODY,
        body={requests.TokenRequest: TOKEN_EXAMPLE},
    ),
    ("POST", "/api/v1/ws-tickets"): Operation(
        "createSocketPass",
        "Live",
        "Get a pass that opens one WebSocket",
        "For a browser, which cannot send an `Authorization` header when it opens a WebSocket. "
        "Open a WebSocket at `url` within 60 s; it works once.",
        {201: responses.SocketPassResponse},
    ),
    ("GET", "/api/v1/me"): Operation(
        "getCaller",
        "Service",
        "Read who you are",
        "The owner, the key, its scopes and limits, and how near you are to these. Any valid key "
        "or token may call it.",
        {200: access.Caller},
    ),
    ("GET", "/api/v1/models"): Operation(
        "listModels",
        "Service",
        "List the names that a request may use",
        "Checkpoints, samplers, schedulers and node classes of this deployment.",
        {200: responses.Models},
    ),
    ("GET", "/api/v1/usage"): Operation(
        "getUsage",
        "Service",
        "Read what your jobs have used",
        "GPU time and number of the ended jobs of the key's owner; with `by=month` also by month.",
        {200: responses.UsageView},
        ("invalid_request",),
        (parameters.USAGE_BY,),
    ),
    **key_operations.KEY_OPERATIONS,
    **admin_operations.ADMIN_OPERATIONS,
    ("GET", "/metrics"): Operation(
        "getMetrics",
        "Service",
        "Read the service's metrics",
        "In the text format of Prometheus. The key needs the scope `admin`.",
        {200: None},
        media=("text/plain",),
    ),
    ("GET", "/healthz"): Operation(
        "health",
        "Service",
        "Check that the API answers",
        "Needs no key.",
        {200: responses.Health},
        is_open=True,
    ),
    ("GET", "/openapi.json"): Operation(
        "showOpenapi",
        "Service",
        "Read this document",
        "Needs no key.",
        {200: None},
        media=("application/json",),
        is_open=True,
    ),
    ("GET", "/asyncapi.json"): Operation(
        "showAsyncapi",
        "Service",
        "Read the WebSocket's document",
        "The messages of the WebSocket API, as AsyncAPI 3.0. Needs no key.",
        {200: None},
        media=("application/json",),
        is_open=True,
    ),
    ("GET", "/"): Operation(
        "showWelcome",
        "Service",
        "Read what this service is",
        "A page that leads to the others. Needs no key.",
        {200: None},
        media=("text/html",),
        is_open=True,
    ),
    ("GET", "/docs"): Operation(
        "showDocs",
        "Service",
        "Read this document as a page",
        "A page to read this document and to try requests with a key of yours. Needs no key.",
        {200: None},
        media=("text/html",),
        is_open=True,
    ),
    ("GET", "/docs/{file}"): Operation(
        "showDocsFile",
        "Service",
        "Read a file that a page loads",
        "A script or a style of the pages; `live` is the page about the WebSocket. Needs no key.",
        {200: None},
        ("route_not_found",),
        (parameters.FILE,),
        media=("text/css", "text/html", "text/javascript"),
        is_open=True,
    ),
}
