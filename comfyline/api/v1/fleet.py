"""Make the responses about the whole service from the workers' reports, the queues and the jobs.

Texts of a worker or a caller are cleaned, because an operator may read them in a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from comfyline.contract.limits import MAX_WORKERS_SHOWN
from comfyline.contract.texts import clean
from comfyline.contract.v1 import fleet
from comfyline.service.admin.queues import Lane, Queues
from comfyline.service.fleet.capacity import Sizes
from comfyline.service.fleet.scaling import ScalerView
from comfyline.service.fleet.workers import Presence, WorkerFacts, WorkerState
from comfyline.service.jobs.job import Job, Status
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Depths

POOL = "default"  # the only one

# What an operator must see comes first.
_ORDER = (
    *(WorkerState.UNHEALTHY, WorkerState.RETIRING, WorkerState.RUNNING),
    *(WorkerState.STARTING, WorkerState.IDLE),
)


def worker_list(reports: Sequence[Presence]) -> fleet.WorkerList:
    """The active workers, at most MAX_WORKERS_SHOWN of them."""
    ordered = sorted(reports, key=lambda each: (_ORDER.index(each.state), each.worker_id))
    shown = [_worker(report) for report in ordered[:MAX_WORKERS_SHOWN]]
    return fleet.WorkerList(workers=shown, workers_total=len(reports))


def _worker(report: Presence) -> fleet.WorkerView:
    return fleet.WorkerView(
        worker_id=clean(report.worker_id),
        pool=POOL,
        state=report.state.value,
        reason=_cleaned(report.unhealthy),
        jobs=[
            fleet.HeldJobView(job_id=clean(job.id), owner=clean(job.owner)) for job in report.jobs
        ],
        held_jobs=report.held_jobs,
        checkpoint=_cleaned(report.checkpoint),
        reported_at=report.reported_at,
        **_facts(report.facts),
    )


def _facts(facts: WorkerFacts) -> dict[str, Any]:
    known = {each.name: getattr(facts, each.name) for each in fields(facts)}
    return {
        name: clean(value) if isinstance(value, str) else value
        for name, value in known.items()
        if value is not None
    }


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)


def queue_list(queues: Queues) -> fleet.QueueList:
    """All queues."""
    pool = fleet.PoolQueues(
        pool=POOL,
        lanes=[_lane(name, lane) for name, lane in queues.lanes.items()],
        knows_oldest=queues.knows_oldest,
        scaler=None if queues.scaler is None else _scaler(queues.scaler),
    )
    return fleet.QueueList(
        at=queues.at,
        pools=[pool],
        dead_letters=_depth(queues.dead_letters),
        parked_settlements=_depth(queues.parked),
    )


def _lane(name: Priority, lane: Lane) -> fleet.LaneView:
    return fleet.LaneView(lane=name.value, **asdict(lane.depths), oldest_waiting_since=lane.oldest)


def _depth(depths: Depths) -> fleet.QueueDepth:
    return fleet.QueueDepth(**asdict(depths))


def _scaler(view: ScalerView) -> fleet.ScalerStateView:
    return fleet.ScalerStateView(
        since=view.since,
        waiting=view.waiting,
        in_flight=view.in_flight,
        ready=view.ready,
        asked=_size(view.asked),
        running=_size(view.running),
        reason=view.reason.value,
    )


def _size(sizes: Sizes) -> fleet.FleetSizeView:
    return fleet.FleetSizeView(**asdict(sizes))


def live_job_page(jobs: Sequence[Job], cursor: str | None) -> fleet.LiveJobPage:
    """One page of the jobs of all owners that have not ended."""
    return fleet.LiveJobPage(jobs=[_live_job(job) for job in jobs], next_cursor=cursor)


def _live_job(job: Job) -> fleet.LiveJobView:
    status: fleet.LiveStatus = "running" if job.status is Status.RUNNING else "queued"
    return fleet.LiveJobView(
        job_id=job.id,
        owner=clean(job.owner),
        user=_cleaned(job.user),
        status="canceling" if job.is_canceling else status,
        priority=job.priority.value,
        progress=job.progress.fraction,
        attempt=job.attempt,
        interruptions=job.interruptions,
        worker_id=clean(job.lease.worker_id) if job.lease else None,
        queued_at=job.queued_at,
        since=job.changed_at,
    )
