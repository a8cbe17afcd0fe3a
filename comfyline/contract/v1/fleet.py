"""What an operator sees of the whole service: its workers, its queues and its live jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from comfyline.contract.limits import MAX_JOBS_PER_PAGE, MAX_WORKERS_SHOWN
from comfyline.contract.v1.common import Amount, Count, Priority, Response

WorkerState = Literal["starting", "idle", "running", "unhealthy", "retiring"]
LiveStatus = Literal["queued", "running", "canceling"]

_POOL = "Name of the pool. A deployment has one pool today, `default`."


class HeldJobView(Response):
    """A job that a worker has claimed and that has not ended."""

    job_id: str = Field(description="The job's id.")
    owner: str = Field(description="The owner of the job.")


class WorkerView(Response):
    """One worker, as it has reported itself. A fact that a worker does not know is null."""

    worker_id: str = Field(description="The worker's id: that of one process.")
    pool: str = Field(description=_POOL)
    state: WorkerState = Field(
        description="What the worker does. `running`: it holds a job. `unhealthy`: it takes no job "
        "until a fault is over. `retiring`: it finishes what it holds, and ends."
    )
    reason: str | None = Field(
        default=None, description="Why the worker takes no job, if it is unhealthy."
    )
    jobs: list[HeldJobView] = Field(
        default_factory=list,
        description="The jobs that it holds, in the order in which it took them: the GPU has the "
        "first that is not being stored yet. A worker of an older release names none.",
    )
    held_jobs: Count = Field(description="How many jobs it holds.")
    checkpoint: str | None = Field(
        default=None,
        description="The checkpoint of the job that it runs, or else of the one that it ran last, "
        "which ComfyUI usually still holds in memory.",
    )
    gpu: str | None = Field(default=None, description="The GPU, as ComfyUI names it.")
    gpu_memory_bytes: Count | None = Field(default=None, description="Memory of the GPU, in bytes.")
    engine_version: str | None = Field(
        default=None, description="Changes whenever the worker's image or its lock does."
    )
    image: str | None = Field(default=None, description="The container's image.")
    revision: str | None = Field(default=None, description="ARN of the task's definition.")
    capacity: str | None = Field(
        default=None, description="How the instance is sold: `ondemand` or `spot`."
    )
    instance_id: str | None = Field(default=None, description="Id of the instance.")
    instance_type: str | None = Field(default=None, description="Type of the instance.")
    zone: str | None = Field(default=None, description="Availability zone of the instance.")
    reported_at: datetime = Field(
        description="When the worker has reported this. It reports every 20 s, and is left out "
        "60 s after its last report."
    )


class WorkerList(Response):
    """The active workers, those with a fault first, then the busy ones."""

    workers: list[WorkerView] = Field(
        description="The workers.", json_schema_extra={"maxItems": MAX_WORKERS_SHOWN}
    )
    workers_total: Count = Field(description="How many workers are active.")


class QueueDepth(Response):
    """The messages of a queue. Both counts may be some seconds old."""

    waiting: Count = Field(description="Messages that can be received.")
    in_flight: Count = Field(description="Messages that were received and are not done.")


class LaneView(Response):
    """One lane of a pool."""

    lane: Priority = Field(description="The priority of the lane's jobs.")
    waiting: Count = Field(description="Tickets that no worker has; a copy counts too.")
    in_flight: Count = Field(description="Tickets that workers have.")
    oldest_waiting_since: datetime | None = Field(
        default=None, description="Since when the job waits that has waited longest."
    )


class FleetSizeView(Response):
    """A number of workers of each capacity."""

    ondemand: Count = Field(description="Workers on on-demand instances.")
    spot: Count = Field(description="Workers on spot instances.")


class ScalerStateView(Response):
    """What the scaler has seen in its last round, and what it has asked for."""

    since: datetime = Field(description="Since when nothing of this has changed.")
    waiting: Count = Field(description="Tickets that waited.")
    in_flight: Count = Field(description="Jobs that workers had.")
    ready: Count = Field(description="Workers that were ready for jobs.")
    asked: FleetSizeView = Field(description="How many workers the scaler asked for.")
    running: FleetSizeView = Field(description="How many workers the platform ran.")
    reason: str = Field(
        description="Why it asked for so many. `idle`: there is no work. `backlog`: the tickets "
        "need so many. `quiet`: they did a short time ago. `least`: the settings keep so many. "
        "`most`: the settings allow no more. `crashes`: workers crash one after the other. There "
        "may be further reasons later."
    )


class PoolQueues(Response):
    """The lanes of one pool."""

    pool: str = Field(description=_POOL)
    lanes: list[LaneView] = Field(description="The lanes, the most urgent first.")
    knows_oldest: bool = Field(
        description="False if so many jobs live that an older one may be missing from "
        "`oldest_waiting_since`."
    )
    scaler: ScalerStateView | None = Field(
        default=None, description="Null if there is no scaler, or if it had nothing to do yet."
    )


class QueueList(Response):
    """The queues of all pools, and those of what has failed."""

    at: datetime = Field(description="When this was read.")
    pools: list[PoolQueues] = Field(description="One entry for each pool.")
    dead_letters: QueueDepth = Field(
        description="Tickets that were delivered too often. Those in flight are tried again."
    )
    parked_settlements: QueueDepth = Field(
        description="Ends of jobs that could not be settled. Those in flight are tried again."
    )


class LiveJobView(Response):
    """One job that has not ended, of any owner."""

    job_id: str = Field(description="The job's id.")
    owner: str = Field(description="The owner of the job.")
    user: str | None = Field(default=None, description="The owner's user, if a token made the job.")
    status: LiveStatus = Field(description="The job's state.")
    priority: Priority = Field(description="The lane that the job waits in.")
    progress: Amount = Field(description="How much of the attempt is done, from 0 to 1.")
    attempt: Count = Field(description="How many times a worker has taken the job.")
    interruptions: Count = Field(description="How many attempts were given back.")
    worker_id: str | None = Field(default=None, description="The worker that holds the job.")
    queued_at: datetime = Field(description="When the service accepted the job.")
    since: datetime = Field(description="Since when the job is in its state.")


class LiveJobPage(Response):
    """One page of the jobs of all owners that have not ended."""

    jobs: list[LiveJobView] = Field(
        description="The jobs.", json_schema_extra={"maxItems": MAX_JOBS_PER_PAGE}
    )
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` for the next page; null on the last page."
    )
