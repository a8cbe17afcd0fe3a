"""Inconsistencies in rows of jobs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from comfyline.adapters.aws.attributes import time_of, ttl_of
from comfyline.contract.ids import JobId
from comfyline.service.jobs.job import Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import quarantine
from tests.integration.audit.plants.plant import DAY, HOUR, MINUTE, YEARS, found_as, n
from tests.support.audited import (
    Deployed,
)


def _lease(d: Deployed, until: datetime, due: datetime) -> None:
    d.set_row(d.jobs.running, lease_until=time_of(until), due_at=time_of(due))


@found_as("row", "longer than any worker")
def lease_of_ten_years(d: Deployed) -> None:
    """Lease and due time are in ten years, so the job is stuck for ever."""
    _lease(d, d.now + YEARS, d.now + YEARS)


@found_as("row", "beyond its execution timeout")
def run_of_two_days(d: Deployed) -> None:
    """A job has run for two days with a timeout of ten minutes and a live lease."""
    long_ago = d.now - 2 * DAY
    job = replace(d.jobs.running, queued_at=long_ago, started_at=long_ago)
    history = tuple(replace(entry, at=long_ago) for entry in job.history)
    d.save(replace(job, attempt_started_at=long_ago, history=history))


@found_as("row", "due later than the end of its lease")
def dead_lease_due_in_an_hour(d: Deployed) -> None:
    """A job runs, its lease has been dead for an hour, and it is due in an hour."""
    _lease(d, d.now - HOUR, datetime.now(UTC) + HOUR)


@found_as("row", "has ttl")
def ended_row_with_past_ttl(d: Deployed) -> None:
    """The TTL of an ended row is past, so DynamoDB would delete it now, and its files stay."""
    d.set_row(d.jobs.succeeded, ttl=ttl_of(d.now - HOUR))


@found_as("row", "has ttl")
def live_row_with_ttl(d: Deployed) -> None:
    """A live row has a TTL in the past."""
    d.set_row(d.jobs.queued, ttl=ttl_of(d.now - HOUR))


@found_as("row", "lacks ttl")
def ended_row_without_ttl(d: Deployed) -> None:
    """An ended row has no TTL."""
    d.set_row(d.jobs.succeeded, ttl=None)


@found_as("row", "lacks due_shard")
def row_without_due_shard(d: Deployed) -> None:
    """A live row has no due_shard, so the sweeper never finds it."""
    d.set_row(d.jobs.queued, due_shard=None)


@found_as("row", "has due_shard")
def row_in_wrong_due_shard(d: Deployed) -> None:
    """A live row is in a shard that no sweeper reads."""
    d.set_row(d.jobs.queued, due_shard={"S": "17"})


@found_as("row", "no due time")
def row_without_due_time(d: Deployed) -> None:
    """A live row has no due time."""
    d.set_row(d.jobs.queued, due_at=None, due_shard=None)


@found_as("row", "has listed_at")
def row_with_wrong_listed_at(d: Deployed) -> None:
    """A row has another listed_at, so it is in the wrong place of its owner's list."""
    d.set_row(d.jobs.succeeded, listed_at={"S": "2020-01-01T00:00:00.000000Z#x"})


@found_as("row", "lacks listed_at")
def row_without_listed_at(d: Deployed) -> None:
    """A row has no listed_at, so it is not in its owner's list."""
    d.set_row(d.jobs.succeeded, listed_at=None)


@found_as("row", "in the future")
def queued_in_the_future(d: Deployed) -> None:
    """A job was queued in ten years."""
    later = d.now + YEARS
    job = replace(d.jobs.queued, queued_at=later, start_deadline=later + DAY, history=())
    d.save(replace(job, history=(replace(d.jobs.queued.history[0], at=later),)))


@found_as("row", "start deadline out of bounds")
def deadline_before_post(d: Deployed) -> None:
    """The start deadline is before the post, and the job is due later."""
    d.set_row(d.jobs.queued, start_deadline=time_of(d.now - HOUR))


@found_as("row", "start deadline out of bounds")
def deadline_in_a_year(d: Deployed) -> None:
    """The start deadline is a year after the post."""
    d.save(replace(d.jobs.queued, start_deadline=d.now + 365 * DAY))


@found_as("row", "execution timeout out of bounds")
def timeout_of_a_week(d: Deployed) -> None:
    """The execution timeout is a week."""
    d.save(replace(d.jobs.queued, execution_timeout=7 * DAY))


@found_as("row", "no retention")
def no_retention(d: Deployed) -> None:
    """The retention is zero."""
    job = replace(d.jobs.queued, retention=timedelta(0))
    d.save(job)


@found_as("row", "after finished_at")
def ended_before_its_start(d: Deployed) -> None:
    """A job ended before it started."""
    job = d.jobs.succeeded
    early = job.queued_at - HOUR
    d.save(replace(job, started_at=job.queued_at + HOUR, finished_at=early, expires_at=None))
    d.save(replace(job, attempt_started_at=job.queued_at + 5 * MINUTE))


@found_as("row", "started_at is in the future")
def started_in_the_future(d: Deployed) -> None:
    """A job has started tomorrow."""
    d.set_row(d.jobs.running, started_at=time_of(d.now + DAY))


@found_as("row", "a future cancel")
def canceled_in_the_future(d: Deployed) -> None:
    """A cancel was requested tomorrow."""
    d.set_row(d.jobs.running, cancel_requested_at=time_of(d.now + DAY))


@found_as("row", "before the post")
def canceled_before_the_post(d: Deployed) -> None:
    """A cancel was requested before the post."""
    d.set_row(d.jobs.running, cancel_requested_at=time_of(d.now - DAY))


@found_as("row", "wrong time of removal")
def removed_at_another_time(d: Deployed) -> None:
    """An ended job is kept for longer than its retention."""
    job = d.jobs.succeeded
    assert job.expires_at
    d.save(replace(job, expires_at=job.expires_at + DAY))


@found_as("row", "due later than its next ticket")
def due_in_a_week(d: Deployed) -> None:
    """A waiting job is due in a week, so a lost ticket is not sent again."""
    job = replace(d.jobs.queued, due_at=d.now + 7 * DAY, start_deadline=d.now + 7 * DAY)
    d.save(job)


@found_as("overdue", "was due at")
def overdue(d: Deployed) -> None:
    """A waiting job was due an hour ago, and has no due_shard, so the sweeper does not find it."""
    d.set_row(d.jobs.queued, due_at=time_of(d.now - HOUR), due_shard=None)


@found_as("row", "due too late for its settlement")
def settlement_in_a_year(d: Deployed) -> None:
    """An ended job that is not settled is due in a year."""
    d.save(replace(d.jobs.succeeded, settle_pending=True, due_at=d.now + 365 * DAY))


@found_as("settlement", "neither counted nor freed")
def never_settled(d: Deployed) -> None:
    """A job ended two hours ago and is not settled."""
    job = replace(d.jobs.succeeded, settle_pending=True, due_at=d.now + HOUR)
    early = d.now - 2 * HOUR
    history = tuple(replace(entry, at=early) for entry in job.history)
    job = replace(job, queued_at=early, started_at=early, attempt_started_at=early, history=history)
    d.save(replace(job, finished_at=early, expires_at=early + job.retention))


@found_as("row", "watched for longer")
def watched_for_a_year(d: Deployed) -> None:
    """A job is watched for a year, so its worker writes progress twice a second."""
    d.set_row(d.jobs.running, watched_until=time_of(d.now + 365 * DAY))


@found_as("row", "running without a lease")
def running_without_lease(d: Deployed) -> None:
    """A job runs and no worker holds it."""
    d.set_row(d.jobs.running, lease=None, lease_until=None)


@found_as("row", "ended, but leased")
def ended_with_lease(d: Deployed) -> None:
    """A worker holds an ended job."""
    d.save(replace(d.jobs.succeeded, lease=d.jobs.running.lease))


@found_as("row", "history entry after the end")
def changed_after_its_end(d: Deployed) -> None:
    """The history has a change after the end."""
    job = d.jobs.succeeded
    extra = replace(job.history[-1], version=job.version + 1, status=Status.QUEUED)
    d.save(replace(job, history=(*job.history, extra)))


@found_as("row", "a change of state that the history lacks")
def status_unlike_history(d: Deployed) -> None:
    """The history ends with another state than the row."""
    d.save(replace(d.jobs.failed, history=d.jobs.failed.history[:-1]))


@found_as("row", "history entry in the future")
def history_in_the_future(d: Deployed) -> None:
    """A history entry is of tomorrow."""
    job = d.jobs.running
    last = replace(job.history[-1], at=d.now + DAY)
    d.save(replace(job, history=(*job.history[:-1], last)))


@found_as("row", "an unknown event")
def history_of_unknown_event(d: Deployed) -> None:
    """The history has an event that the lifecycle does not know."""
    job = d.jobs.running
    last = replace(job.history[-1], event="exploded")
    d.save(replace(job, history=(*job.history[:-1], last)))


@found_as("row", "an end unlike its history's")
def end_unlike_history(d: Deployed) -> None:
    """The row ended at another time than its history says."""
    job = d.jobs.canceled
    end = d.now + MINUTE
    d.save(replace(job, finished_at=end, expires_at=end + job.retention))


@found_as("row", "more GPU time")
def gpu_time_of_a_year(d: Deployed) -> None:
    """A job of one attempt has used a GPU for a year."""
    d.save(replace(d.jobs.failed, gpu_seconds=3.0e7))


@found_as("row", "negative GPU time")
def negative_gpu_time(d: Deployed) -> None:
    """A job has used a negative time of a GPU."""
    d.save(replace(d.jobs.failed, gpu_seconds=-5.0))


@found_as("row", "progress out of bounds")
def progress_beyond_its_end(d: Deployed) -> None:
    """A job is done to 700 %."""
    d.save(replace(d.jobs.running, progress=Progress(fraction=7.0)))


@found_as("row", "more failures than")
def too_many_failures(d: Deployed) -> None:
    """A job has failed more often than it may."""
    d.save(replace(d.jobs.failed, failures=99))


@found_as("row", "cannot be read")
def schema_of_the_future(d: Deployed) -> None:
    """A row has schema 99."""
    d.set_row(d.jobs.succeeded, schema=n(99))


@found_as("row", "cannot be read")
def row_without_status(d: Deployed) -> None:
    """A row has no status."""
    d.set_row(d.jobs.queued, status=None)


@found_as("row", "no job can have")
def row_of_strange_id(d: Deployed) -> None:
    """A row has an id that no job can have."""
    d.save(replace(d.jobs.canceled, id=JobId("job_../../etc/passwd")))


@found_as("quarantine", "cannot be read")
def row_in_quarantine(d: Deployed) -> None:
    """A row that cannot be read is in quarantine."""
    d.set_row(d.jobs.queued, schema=n(99), due_shard={"S": quarantine()})


@found_as("quarantine", "but can be read")
def good_row_in_quarantine(d: Deployed) -> None:
    """A row in quarantine can be read, so its job is not repaired although it could be."""
    d.set_row(d.jobs.queued, due_shard={"S": quarantine()})
