"""Jobs as Comfy API v2 shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from comfyline.contract.comfy_v2.common import Answer

Status = Literal["queued", "running", "succeeded", "canceling", "canceled", "failed", "expired"]
OutputType = Literal["image", "video", "audio", "text", "file", "latent"]


class Progress(Answer):
    """How far the job is. Each value is complete by itself."""

    value: float = Field(ge=0, le=1, description="How much of the whole workflow is done.")
    nodes_done: int = Field(description="How many nodes are done.")
    nodes_total: int = Field(description="How many nodes the workflow has.")
    current_node: str | None = Field(default=None, description="Id of the node that runs.")
    current_node_class: str | None = Field(default=None, description="Class of that node.")
    step: int | None = Field(default=None, description="The node's current step.")
    steps: int | None = Field(default=None, description="The node's number of steps.")
    message: str | None = Field(default=None, description="The same as a short text.")


class Output(Answer):
    """One file that the job made, which is also an asset."""

    node_id: str = Field(description="Id of the node that made the file; empty if unknown.")
    name: str = Field(description="The file's name, as the workflow chose it.")
    type: OutputType = Field(description="What the file is.")
    content_type: str = Field(description="The file's media type.")
    size_bytes: int = Field(description="The file's size.")
    id: str = Field(description="The file as an asset.")
    hash: str | None = Field(description="Always null: outputs are not hashed by blake3.")
    url: str = Field(description="A signed URL of the file, which needs no key.")
    url_expires_at: datetime = Field(description="When `url` stops working.")
    job_id: str = Field(description="The job that made the file.")


class JobError(Answer):
    """Why the job failed."""

    code: str = Field(description="Stable name; `node_execution_error` if a node raised.")
    message: str = Field(description="What went wrong, for people.")
    node_id: str | None = Field(default=None, description="Id of the node that failed.")
    class_type: str | None = Field(default=None, description="Class of that node.")
    traceback: str | None = Field(default=None, description="Always null.")


class Urls(Answer):
    """Where to read more of the job. Empty texts: build the paths from the id."""

    self: str = Field(description="The job itself.")
    events: str = Field(description="Its events.")
    cancel: str = Field(description="Where to cancel it.")


class Metrics(Answer):
    """How long the job took, in milliseconds; null until that is known."""

    queue_ms: int | None = Field(default=None, description="From the submission to the start.")
    execution_ms: int | None = Field(default=None, description="From the start to the end.")
    gpu_ms: int | None = Field(default=None, description="GPU time of all attempts.")


class _State(Answer):
    """What the whole job and the job in a list have in common."""

    id: str = Field(description="The job's id.")
    status: Status = Field(description="The job's state.")
    created_at: datetime = Field(description="When the service accepted the job.")
    started_at: datetime | None = Field(description="When ComfyUI started it.")
    completed_at: datetime | None = Field(description="When it ended.")
    expires_at: datetime = Field(
        description="When the service removes the job and its files; the latest such time until "
        "the job has ended."
    )
    queue_position: int | None = Field(description="Approximate place in the queue.")
    progress: Progress | None = Field(description="How far it is; null while it is queued.")
    error: JobError | None = Field(description="Why it failed.")
    metrics: Metrics = Field(description="How long it took.")
    metadata: dict[str, str] = Field(description="The labels that the request gave.")


class Job(_State):
    """A job."""

    outputs: list[Output] = Field(description="The files of an ended job.")
    urls: Urls = Field(description="Where to read more.")


class JobItem(_State):
    """A job in a list, without its outputs."""

    create_time: datetime = Field(description="The same as `created_at`.")
    update_time: datetime = Field(description="When the job's state changed last.")
    deployment_id: str | None = Field(default=None, description="Always null.")


class JobList(Answer):
    """One page of the caller's jobs, newest first."""

    jobs: list[JobItem] = Field(description="The jobs.")
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` for the next page; null on the last page."
    )


class WorkflowView(Answer):
    """The graph that the job runs."""

    workflow: dict[str, Any] = Field(
        description="The graph. Where the caller named an asset, it has `upload:<id>`, which can "
        "be submitted again."
    )
    format: Literal["api"] = Field(description="The format of the graph.")
