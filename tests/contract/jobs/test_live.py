"""The jobs of all owners that have not ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore, LivePosition
from tests.contract.jobs.stored import saved
from tests.support.builders import NOW, a_job, canceled, settled

MINUTE = timedelta(minutes=1)


def waiting(store: JobStore, owner: str, minute: int) -> Job:
    """A stored job that is due in so many minutes."""
    job = a_job(owner=OwnerId(owner), due_at=NOW + minute * MINUTE)
    assert store.add(job) is None
    return job


def listed(store: JobStore, size: int) -> list[list[Job]]:
    """All pages."""
    pages: list[list[Job]] = []
    after: LivePosition | None = None
    while True:
        found = store.live(size, after)
        pages.append([job for _, job in found])
        if len(found) < size:
            return pages
        after = found[-1][0]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_each_is_listed_once_whatever_its_owner_in_the_order_of_due_times(
    job_store: JobStore, size: int
) -> None:
    made = [waiting(job_store, owner, n) for n in range(10) for owner in ("fox", "owl")]
    found = [job for page in listed(job_store, size) for job in page]
    assert found == sorted(made, key=lambda job: (job.due_at, job.id))


def test_jobs_of_one_due_time_are_all_listed(job_store: JobStore) -> None:
    made = [waiting(job_store, "fox", 1) for _ in range(40)]
    found = [job for page in listed(job_store, 7) for job in page]
    assert sorted(job.id for job in found) == sorted(job.id for job in made)


def test_ended_jobs_are_not_listed_even_if_they_are_not_settled(job_store: JobStore) -> None:
    live, ended = waiting(job_store, "fox", 1), a_job()
    saved(job_store, ended, canceled(ended))
    done = a_job()
    saved(job_store, done, canceled(done), settled(canceled(done)))
    assert listed(job_store, 100) == [[live]]
    assert job_store.live_last_due(10) == ([live], True)


def test_those_that_are_due_last_are_found_without_the_others(job_store: JobStore) -> None:
    made = [waiting(job_store, "fox", n) for n in range(12)]
    assert job_store.live_last_due(4) == (made[:-5:-1], False)
