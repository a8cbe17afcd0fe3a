"""The response bodies of API v1.

A client ignores fields that it does not know, so that an old client works with a newer service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.limits import MAX_JOBS_PER_PAGE, MAX_TOKEN_JOBS
from comfyline.contract.v1.common import Amount, Count, Priority, Response, Status
from comfyline.contract.v1.results import ArtifactLink, ResultView

_JOB_ID = "The job's id."
_STATUS = (
    "The job's state. `canceling` means that a cancel was requested and the job's worker has not "
    "ended it yet."
)
_VERSION = "Number of the job's state; each change that a client can see raises it."
_ATTEMPT = "How many times a worker has taken the job; 0 before the first."


class JobAccepted(Response):
    """A job was accepted, or an earlier request had already made it."""

    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)] = Field(description=_JOB_ID)
    status: Status = Field(description=_STATUS)
    queued_at: datetime = Field(description="When the service accepted the job.")
    location: str = Field(description="The path to read the job at.")


class ProgressDetail(Response):
    """Which part of its workflow the job is at."""

    node: str | None = Field(default=None, description="Id of the node that runs.")
    node_type: str | None = Field(default=None, description="Class of that node.")
    step: Count | None = Field(default=None, description="The node's current step.")
    steps: Count | None = Field(default=None, description="The node's number of steps.")
    nodes_done: Count = Field(default=0, description="How many nodes of the workflow are done.")
    nodes_total: Count = Field(default=0, description="How many nodes the workflow has.")
    message: str | None = Field(default=None, description="The same as a short text.")


class ErrorView(Response):
    """Why the job, or its last attempt, failed."""

    type: str = Field(description="Stable name of the kind of error.")
    message: str = Field(description="What went wrong, for people.")
    node_id: str | None = Field(default=None, description="Id of the node that failed.")
    node_type: str | None = Field(default=None, description="Class of that node.")
    attempt: Count | None = Field(default=None, description="The attempt that failed.")


class Timestamps(Response):
    """When the job's changes happened, in UTC."""

    queued_at: datetime = Field(description="The service accepted the job.")
    started_at: datetime | None = Field(
        default=None, description="ComfyUI started the last attempt."
    )
    finished_at: datetime | None = Field(default=None, description="The job ended.")
    expires_at: datetime | None = Field(
        default=None, description="The service removes the ended job and its files."
    )


class OutputView(Response):
    """How the job's still pictures are stored."""

    format: str = Field(description="The encoding of the stored pictures.")
    quality: int = Field(ge=1, le=100, description="Quality of the encoding, 1 to 100.")


class JobView(Response):
    """A job as its owner sees it."""

    job_id: str = Field(description=_JOB_ID)
    status: Status = Field(description=_STATUS)
    progress: float = Field(ge=0, le=1, description="How much of the attempt is done, from 0 to 1.")
    progress_detail: ProgressDetail = Field(description="Node and step of the attempt.")
    submitted_by: str = Field(description="The owner of the key that submitted the job.")
    user: str | None = Field(
        default=None,
        description="The user whose token submitted the job; null if the key itself did.",
    )
    params: dict[str, Any] = Field(
        description="The parameters that the job was described by, with the drawn seed. Empty for "
        "a workflow."
    )
    metadata: dict[str, str] = Field(description="The labels that the request gave.")
    priority: Priority = Field(description="Workers take jobs of a higher priority first.")
    output: OutputView | None = Field(
        default=None,
        description="How still pictures are stored; null if as the workflow made them.",
    )
    previews: bool = Field(
        default=False, description="Whether `progress` messages of the WebSocket link to previews."
    )
    strict: bool = Field(
        default=False, description="Whether the job fails if an output of its workflow is invalid."
    )
    result: ResultView | None = Field(
        default=None,
        description="What an ended job has made. A job that did not succeed has the files that "
        "were stored before. Lists of jobs leave the result out.",
    )
    artifacts_total: Count = Field(
        default=0, description="How many files the ended job has made; 0 before its end."
    )
    thumbnail: ArtifactLink | None = Field(
        default=None,
        description="A thumbnail, as WebP, of the first picture that has one. Thumbnails are made "
        "after the end of the job, so it may be null for some seconds. It stays null where none "
        "can be made, or where the deployment makes none.",
    )
    error: ErrorView | None = Field(
        default=None, description="Why the job, or its last attempt, failed."
    )
    timestamps: Timestamps = Field(description="Times of the job's changes.")
    attempt: Count = Field(description=_ATTEMPT)
    interruptions: Count = Field(
        description="How many attempts were given back because their worker had to stop. They do "
        "not count as failures."
    )
    cached: bool = Field(
        description="Whether the result comes from an earlier run of ComfyUI, which then executed "
        "only the nodes that write files."
    )
    nodes_cached: Count = Field(
        default=0, description="How many nodes ComfyUI did not execute again."
    )
    gpu_seconds: Amount = Field(description="GPU time of all attempts, in seconds.")
    version: Count = Field(description=_VERSION)
    queue_position: int | None = Field(
        default=None,
        ge=1,
        description="Approximate place in the queue while the job waits: at most so many jobs are "
        "started before it.",
    )
    retry_of: str | None = Field(default=None, description="The job that this one is a retry of.")


class JobPage(Response):
    """One page of the caller's jobs, newest first."""

    jobs: list[JobView] = Field(
        description="The jobs, without their results.",
        json_schema_extra={"maxItems": MAX_JOBS_PER_PAGE},
    )
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` for the next page; null on the last page."
    )


class CancelAnswer(Response):
    """What the cancel did."""

    job_id: str = Field(description=_JOB_ID)
    status: Status = Field(description=_STATUS)
    message: str = Field(description="What happened, for people.")


class UploadAccepted(Response):
    """How to send the file: a form to post."""

    upload_id: str = Field(description="Names the file in a workflow's `inputs`.")
    url: str = Field(description="Where to post the form to.")
    fields: dict[str, str] = Field(
        description="The form's fields. Send all of them, and after them the file as `file`."
    )
    expires_at: datetime = Field(description="When the form stops working.")


class TokenResponse(Response):
    """A short-lived token."""

    token: str = Field(
        description="Send it in place of a key: `Authorization: Bearer <token>`. It cannot be read "
        "again.",
    )
    user: str = Field(description="The user in whose name the token acts.")
    scopes: list[str] = Field(description="What the token may do.")
    max_jobs: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TOKEN_JOBS,
        description="How many jobs the token may submit in all; null if any number.",
    )
    expires_at: datetime = Field(
        description="When the token stops working, if its key does not stop working earlier.",
    )


class SocketPassResponse(Response):
    """A pass that opens one WebSocket."""

    ticket: str = Field(description="Send it as the query parameter `ticket`; it works once.")
    url: str = Field(description="The address of the WebSocket API, with the ticket in its query.")
    expires_at: datetime = Field(description="When the pass stops working.")


class Models(Response):
    """The names that a request may use."""

    default_checkpoint: str = Field(description="The checkpoint of a request without `model`.")
    checkpoints: list[str] = Field(description="The values of `model` that the service knows.")
    any_checkpoint: bool = Field(
        default=False,
        description="Whether `model` may also be another name, which ComfyUI then judges: the "
        "deployment does not list its checkpoints.",
    )
    samplers: list[str] = Field(
        description="The values of `sampler`. Empty if all are allowed, which ComfyUI then judges."
    )
    schedulers: list[str] = Field(
        description="The values of `scheduler`. Empty if all are allowed, which ComfyUI then "
        "judges."
    )
    node_classes: list[str] = Field(
        description="The node classes that a workflow may use. Empty if all are allowed."
    )


class MonthUsage(Response):
    """What the caller's jobs that ended in a calendar month (UTC) have used."""

    month: str = Field(
        pattern="^[0-9]{4}-[0-9]{2}$", description="The year and the month, such as `2026-11`."
    )
    gpu_seconds: Amount = Field(description="GPU time of these jobs, in seconds.")
    jobs: Count = Field(description="How many of these jobs have used a GPU.")


class UsageView(Response):
    """What the caller's ended jobs have used in all."""

    owner: str = Field(description="The owner of the key.")
    gpu_seconds: Amount = Field(description="GPU time of all ended jobs, in seconds.")
    jobs: Count = Field(description="How many of the ended jobs have used a GPU.")
    months: list[MonthUsage] | None = Field(
        default=None,
        max_length=12,
        description="With `by=month`: the last twelve months, oldest first; the last one is the "
        "current month. Months before an upgrade from a version without months are zero.",
    )


class Health(Response):
    """The API answers."""

    status: Literal["ok"] = Field(description="Always `ok`.")


class GatewayMessage(Response):
    """What the gateway answers by itself, before the service sees the request."""

    message: str | None = Field(default=None, description="The gateway's short English text.")
