"""What the sweeper finds in a store."""

from __future__ import annotations

from datetime import datetime

from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore, due_shards


def due_jobs(store: JobStore, now: datetime, *, settled: bool, limit: int = 10) -> list[Job]:
    """The due jobs of all shards, most overdue first."""
    found = [job for shard in due_shards(settled=settled) for job in store.due(now, limit, shard)]
    return sorted(found, key=lambda job: (job.due_at, job.id))
