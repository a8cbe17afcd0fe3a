"""The jobs of all owners that have not ended, for an operator."""

from __future__ import annotations

from comfyline.contract.limits import MAX_SEARCHED_JOBS
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.read import SEARCHED_AT_ONCE, cursor_of, place_of
from comfyline.service.jobs.store import JobStore, LivePosition


def list_live(
    *, status: Status | None, limit: int, cursor: str | None, store: JobStore
) -> tuple[list[Job], str | None]:
    """One page of the jobs that have not ended, and the cursor of the next.

    The jobs come in the order in which the sweeper must look at them. With a status, the page is
    made of the next MAX_SEARCHED_JOBS jobs: it may be empty although later pages are not.

    Raises:
        InvalidCursor: the cursor was not made by this API.
    """
    after = LivePosition(*place_of(cursor)) if cursor else None
    size, most = (SEARCHED_AT_ONCE, MAX_SEARCHED_JOBS) if status else (limit, limit)
    shown: list[Job] = []
    for _ in range(0, most, size):
        found = store.live(size, after)
        for after, job in found:
            if status in (None, job.status):
                shown.append(job)
            if status and len(shown) == limit:
                return shown, cursor_of(after.due_at, after.job_id)
        if len(found) < size:
            return shown, None
    return shown, cursor_of(after.due_at, after.job_id) if after else None
