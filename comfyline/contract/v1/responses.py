"""The bodies that API v1 answers.

A client reads them leniently: it ignores fields that it does not know, so that an old client
works with a newer service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1.common import (
    Priority,
    Response,
    Status,
)


class JobAccepted(Response):
    """202 of a submission."""

    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]
    status: Status
    queued_at: datetime
    location: str


class ProgressDetail(Response):
    """Where in its graph the job is."""

    node: str | None = None
    node_type: str | None = None
    step: int | None = None
    steps: int | None = None
    nodes_done: int = 0
    nodes_total: int = 0
    message: str | None = None


class ArtifactView(Response):
    """One output file; `url` is signed afresh at each read."""

    url: str
    name: str
    kind: str
    content_type: str
    bytes: int
    sha256: str
    node: str
    url_expires_at: datetime | None = None
    seed: int | None = None
    meta: dict[str, Any] = Field(default_factory=dict)


class ResultView(Response):
    """What a succeeded job has made; `truncated` where a message had no room for all."""

    artifacts: list[ArtifactView]
    truncated: bool = False


class ErrorView(Response):
    """Why the job, or its last attempt, failed."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    attempt: int | None = None


class Timestamps(Response):
    """The job's times, UTC."""

    queued_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None


class OutputView(Response):
    """How the job's still pictures are stored."""

    format: str
    quality: int


class JobView(Response):
    """A job as its owner sees it."""

    job_id: str
    status: Status
    progress: float = Field(ge=0, le=1)
    progress_detail: ProgressDetail
    submitted_by: str
    params: dict[str, Any]
    metadata: dict[str, str]
    priority: Priority
    output: OutputView | None = None
    previews: bool = False
    result: ResultView | None = None
    error: ErrorView | None = None
    timestamps: Timestamps
    attempt: int
    interruptions: int
    cached: bool
    gpu_seconds: float
    version: int
    queue_position: int | None = Field(None, ge=1)
    retry_of: str | None = None


class JobPage(Response):
    """One page of the caller's jobs, newest first, without results."""

    jobs: list[JobView]
    next_cursor: str | None = None


class CancelAnswer(Response):
    """202 of a cancel: what became of it."""

    job_id: str
    status: Status
    message: str


class UploadAccepted(Response):
    """201 of an upload: post `fields` and then the file, as `file`, to `url`."""

    upload_id: str
    url: str
    fields: dict[str, str]
    expires_at: datetime


class SocketPassResponse(Response):
    """201: opens one socket, as `?ticket=`."""

    ticket: str
    expires_at: datetime


class Models(Response):
    """What the deployment has; no node classes means that all are allowed."""

    default_checkpoint: str
    checkpoints: list[str]
    samplers: list[str]
    schedulers: list[str]
    node_classes: list[str]


class UsageView(Response):
    """What the caller's ended jobs have used in all."""

    owner: str
    gpu_seconds: float
    jobs: int


class Health(Response):
    """200 of /healthz."""

    status: Literal["ok"]


class FieldProblem(Response):
    """One field of a 422."""

    loc: list[str | int]
    msg: str


class Problem(Response):
    """RFC 9457, `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[FieldProblem] | None = None


class GatewayMessage(Response):
    """What the gateway answers by itself, before any function is asked."""

    message: str | None = None
