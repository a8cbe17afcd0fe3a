"""One inconsistency each, planted in a clean deployment.

`PLANTS` is the table: a docstring names the fault; with it are the kind and text of its finding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from comfyline.adapters.aws.access.slots import slots_shard
from comfyline.adapters.aws.attributes import time_of, ttl_of
from comfyline.adapters.aws.fleet.presence import WORKERS
from comfyline.adapters.aws.jobs import results, siblings
from comfyline.adapters.aws.live.connections import open_shard
from comfyline.contract.ids import ConnectionId, JobId, UploadId, random_job_id
from comfyline.operate.audit.source import Table
from comfyline.service.access.budgets import REQUESTS, window_of
from comfyline.service.access.slots import minute_of
from comfyline.service.files.uploads import upload_key
from comfyline.service.jobs.artifact_keys import artifact_key, thumbnail_key
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import quarantine
from tests.support.audited import (
    BEAR,
    BEAR_KEY,
    FOX,
    FOX_KEY,
    PASS,
    SESSION,
    SOCKET,
    Deployed,
)

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
YEARS = timedelta(days=3650)


@dataclass(frozen=True)
class Plant:
    """One planted inconsistency, and what the audit says of it."""

    name: str
    what: str
    make: Callable[[Deployed], None]
    kind: str
    says: str
    is_leftover: bool = False
    with_bytes: bool = False


PLANTS: list[Plant] = []
# The plants that `--fix` mends. The others would need a guess.
MENDED = {
    # the event that is due by the clock
    "row_without_due_shard",
    "row_in_wrong_due_shard",
    "row_without_due_time",
    "dead_lease_due_in_an_hour",
    "due_in_a_week",
    "overdue",
    "never_settled",
    "settlement_in_a_year",
    "good_row_in_quarantine",
    # a step of the settlement
    "settled_but_not_counted",
    # removals
    "report_unreadable",
    "request_without_job",
    "request_of_earlier_job",
    "file_without_job",
    "file_not_listed",
    "file_of_an_attempt_that_lost",
    "thumbnail_of_an_attempt_that_lost",
    "slot_of_an_ended_job",
    "slot_of_a_missing_job",
    "slot_of_another_post",
    "subscription_without_socket",
    "subscription_to_missing_job",
    "socket_names_a_job",
    "socket_closed",
    "place_of_a_dead_function",
}


def found_as(
    kind: str, says: str, *, is_leftover: bool = False, with_bytes: bool = False
) -> Callable[[Callable[[Deployed], None]], Callable[[Deployed], None]]:
    """Add the decorated function to the plants."""

    def add(make: Callable[[Deployed], None]) -> Callable[[Deployed], None]:
        name, what = make.__name__, (make.__doc__ or "").strip().rstrip(".")
        PLANTS.append(Plant(name, what, make, kind, says, is_leftover, with_bytes))
        return make

    return add


def _n(number: float) -> dict[str, str]:
    return {"N": str(number)}


# --- requests, graphs and parameters --------------------------------------------------------------


def request_of(job: Job) -> str:
    return siblings.request_sk(job)


def _without_request(d: Deployed, job: Job) -> None:
    for name in d.names(Table.JOBS, job.id):
        if name.startswith(("job#request", "job#params", "input")):
            d.delete(Table.JOBS, job.id, name)


def _request_item(d: Deployed, job: Job) -> str:
    names = d.names(Table.JOBS, job.id)
    return next(name for name in names if name.startswith(("job#request", "job#params")))


@found_as("item", "has no graph")
def live_job_without_request(d: Deployed) -> None:
    """A live queued job without any request or graph item, and without a ticket."""
    _without_request(d, d.jobs.queued)


@found_as("item", "has no parameters")
def ended_job_without_request(d: Deployed) -> None:
    """The request item of an ended job is deleted, so its parameters are gone."""
    _without_request(d, d.jobs.succeeded)


@found_as("item", "cannot be read")
def request_unreadable(d: Deployed) -> None:
    """The request item of a job holds no compressed JSON."""
    name = _request_item(d, d.jobs.succeeded)
    d.set(Table.JOBS, d.jobs.succeeded.id, name, body={"B": b"\x00garbage"})


@found_as("item", "cannot be read")
def request_without_body(d: Deployed) -> None:
    """The request item of a job has no body."""
    name = _request_item(d, d.jobs.succeeded)
    d.set(Table.JOBS, d.jobs.succeeded.id, name, body=None)


@found_as("item", "extra_pnginfo")
def pnginfo_missing(d: Deployed) -> None:
    """A waiting job has lost what ComfyUI writes into its pictures."""
    d.delete(Table.JOBS, d.jobs.queued.id, siblings.pnginfo_sk(d.jobs.queued))


@found_as("item", "has no TTL")
def sibling_without_ttl(d: Deployed) -> None:
    """An item beside a row has no TTL."""
    d.set(Table.JOBS, d.jobs.succeeded.id, _request_item(d, d.jobs.succeeded), ttl=None)


@found_as("item", "has another TTL")
def sibling_removed_too_early(d: Deployed) -> None:
    """The request item of a waiting job is removed in an hour."""
    name = _request_item(d, d.jobs.queued)
    d.set(Table.JOBS, d.jobs.queued.id, name, ttl=ttl_of(d.now + HOUR))


@found_as("item", "has a name that no part")
def sibling_of_unknown_name(d: Deployed) -> None:
    """An item beside a row has a name that nothing reads."""
    item = d.item(Table.JOBS, d.jobs.queued.id, _request_item(d, d.jobs.queued))
    d.put(Table.JOBS, item | {"sk": {"S": "job#notes#1"}})


@found_as("item", "another fingerprint")
def request_of_another_fingerprint(d: Deployed) -> None:
    """A job has a second request, of another fingerprint but of the same post."""
    item = d.item(Table.JOBS, d.jobs.queued.id, _request_item(d, d.jobs.queued))
    d.put(Table.JOBS, item | {"sk": {"S": "job#request#" + "1" * 64}})


@found_as("item", "belongs to no job", is_leftover=True)
def request_without_job(d: Deployed) -> None:
    """A request is left of a post that died."""
    item = d.item(Table.JOBS, d.jobs.queued.id, _request_item(d, d.jobs.queued))
    d.put(Table.JOBS, item | {"pk": {"S": random_job_id(d.now)}})


@found_as("item", "belongs to an earlier job", is_leftover=True)
def request_of_earlier_job(d: Deployed) -> None:
    """A request is left of an earlier job of the same id."""
    item = d.item(Table.JOBS, d.jobs.queued.id, _request_item(d, d.jobs.queued))
    other = {"sk": {"S": "job#request#" + "1" * 64}, "queued_at": time_of(d.now - DAY)}
    d.put(Table.JOBS, item | other)


@found_as("upload", "is missing")
def upload_missing(d: Deployed) -> None:
    """A waiting job names an upload that is not in the bucket."""
    d.delete_file(upload_key(FOX, UploadId(d.jobs.upload)))


@found_as("row", "of another owner")
def retry_of_another_owner(d: Deployed) -> None:
    """A retry and the job that it retries are of two owners."""
    d.save(replace(d.jobs.failed, owner=BEAR))


@found_as("row", "fingerprint is not that of the retry")
def retry_of_another_job(d: Deployed) -> None:
    """The row of a retry has the fingerprint of another request."""
    job = replace(d.jobs.retry, fingerprint=d.jobs.failed.fingerprint)
    item = d.item(Table.JOBS, job.id, _request_item(d, job))
    d.put(Table.JOBS, item | {"sk": {"S": siblings.request_sk(job)}})
    d.save(job)


# --- rows -----------------------------------------------------------------------------------------


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
    d.set_row(d.jobs.succeeded, schema=_n(99))


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
    d.set_row(d.jobs.queued, schema=_n(99), due_shard={"S": quarantine()})


@found_as("quarantine", "but can be read")
def good_row_in_quarantine(d: Deployed) -> None:
    """A row in quarantine can be read, so its job is not repaired although it could be."""
    d.set_row(d.jobs.queued, due_shard={"S": quarantine()})


# --- results and files ----------------------------------------------------------------------------


def _list_with(d: Deployed, job: Job, **changes: Any) -> None:
    """Change the first artifact in the list of the job."""
    name = results.result_sk(job)
    item = d.item(Table.JOBS, job.id, name)
    first, *others = siblings.unpack(item["body"]["B"])
    body = {"B": siblings.pack([first | changes, *others])}
    d.set(Table.JOBS, job.id, name, body=body)


@found_as("artifact", "has the SHA-256", with_bytes=True)
def other_bytes_of_same_length(d: Deployed) -> None:
    """A file was replaced by other bytes of the same length."""
    d.put_file(artifact_key(d.jobs.succeeded, 0, "image.png"), b"fake0")


@found_as("artifact", "is not a file of that attempt")
def list_names_file_of_another_owner(d: Deployed) -> None:
    """The list of fox's job names a file of bear's job."""
    _list_with(d, d.jobs.succeeded, key=artifact_key(d.jobs.of_bear, 0, "image.png"))


@found_as("artifact", "is listed, but not in the bucket")
def listed_file_deleted(d: Deployed) -> None:
    """A listed file is deleted."""
    d.delete_file(artifact_key(d.jobs.succeeded, 0, "image.png"))


@found_as("artifact", "bytes in the bucket, but")
def listed_file_shorter(d: Deployed) -> None:
    """A listed file is shorter than the list says."""
    d.put_file(artifact_key(d.jobs.succeeded, 0, "image.png"), b"m")


@found_as("artifact", "has no list of artifacts")
def list_deleted(d: Deployed) -> None:
    """The list of a job that succeeded is deleted."""
    d.delete(Table.JOBS, d.jobs.succeeded.id, results.result_sk(d.jobs.succeeded))


@found_as("artifact", "but counts")
def second_part_of_list_deleted(d: Deployed) -> None:
    """The second item of a long list is deleted."""
    d.delete(Table.JOBS, d.jobs.many.id, results.part_sk(d.jobs.many, 1))


@found_as("artifact", "wrong size or SHA-256")
def list_with_wrong_checksum(d: Deployed) -> None:
    """A list has a text that is no SHA-256."""
    _list_with(d, d.jobs.succeeded, sha256="xyz")


@found_as("item", "cannot be read")
def list_unreadable(d: Deployed) -> None:
    """The list of a job is damaged."""
    name = results.result_sk(d.jobs.succeeded)
    d.set(Table.JOBS, d.jobs.succeeded.id, name, body={"B": b"\x78\x9c"})


@found_as("item", "no worker has claimed")
def list_of_an_attempt_never_claimed(d: Deployed) -> None:
    """A job has a list of its attempt 7."""
    job = d.jobs.succeeded
    item = d.item(Table.JOBS, job.id, results.result_sk(job))
    d.put(Table.JOBS, item | {"sk": {"S": results.result_sk(replace(job, attempt=7))}})


@found_as("file", "belongs to no job", is_leftover=True)
def file_without_job(d: Deployed) -> None:
    """A file belongs to a job that is not there."""
    d.put_file(f"jobs/{random_job_id(d.now)}/{d.jobs.queued.incarnation}-1/0_a.png", b"x")


@found_as("file", "no worker has claimed")
def file_of_an_attempt_never_claimed(d: Deployed) -> None:
    """A file belongs to attempt 9 of a job of one attempt."""
    d.put_file(artifact_key(replace(d.jobs.succeeded, attempt=9), 0, "a.png"), b"x")


@found_as("file", "not in the list", is_leftover=True)
def file_not_listed(d: Deployed) -> None:
    """A file of a job that succeeded is not in its list."""
    d.put_file(artifact_key(d.jobs.succeeded, 5, "a.png"), b"x")


@found_as("file", "not in the list", is_leftover=True)
def thumbnail_of_an_attempt_that_lost(d: Deployed) -> None:
    """A thumbnail is left of an attempt that lost its lease."""
    job = d.jobs.failed
    history = (*job.history[:-1], replace(job.history[-1], attempt=2))
    d.save(replace(job, attempt=2, history=history))
    d.put_file(thumbnail_key(job, 0), b"x")


@found_as("file", "not in the list", is_leftover=True)
def file_of_an_attempt_that_lost(d: Deployed) -> None:
    """A file is left of an attempt that lost its lease."""
    job = d.jobs.failed
    history = (*job.history[:-1], replace(job.history[-1], attempt=2))
    d.save(replace(job, attempt=2, history=history))
    d.put_file(artifact_key(job, 0, "a.png"), b"x")


@found_as("file", "no part of the service uses")
def file_in_a_strange_place(d: Deployed) -> None:
    """A file has a key that nothing uses."""
    d.put_file("somewhere/else", b"x")


@found_as("file", "no upload can have")
def upload_in_a_strange_place(d: Deployed) -> None:
    """A file is among the uploads and has no key of an upload."""
    d.put_file("uploads/fox/my.png", b"x")


# --- slots ----------------------------------------------------------------------------------------


def _slot_item(d: Deployed, job: Job) -> dict[str, Any]:
    pk = slots_shard(job.owner)["S"]
    name = next(n for n in d.names(Table.OWNERS, pk) if n.endswith(job.id))
    return d.item(Table.OWNERS, pk, name)


def _part_item(d: Deployed) -> dict[str, Any]:
    pk = slots_shard(FOX)["S"]
    name = next(n for n in d.names(Table.OWNERS, pk) if "#part#" in n)
    return d.item(Table.OWNERS, pk, name)


def _without_slot(d: Deployed, job: Job) -> dict[str, Any]:
    item = _slot_item(d, job)
    d.delete(Table.OWNERS, item["pk"]["S"], item["sk"]["S"])
    return item


@found_as("slot", "has no slot")
def live_job_without_slot(d: Deployed) -> None:
    """A live job has has_slot and no slot is held, so its owner may exceed the cap."""
    _without_slot(d, d.jobs.queued)


@found_as("slot", "is taken for a job of")
def slot_of_another_owner(d: Deployed) -> None:
    """Bear has a slot for a live job of fox's."""
    item = _slot_item(d, d.jobs.queued)
    name = item["sk"]["S"].replace("fox#", "bear#")
    d.put(Table.OWNERS, item | {"pk": slots_shard(BEAR), "sk": {"S": name}})


@found_as("slot", "in the wrong shard")
def slot_in_the_wrong_shard(d: Deployed) -> None:
    """A slot is in a shard in which nothing looks for it."""
    item = _without_slot(d, d.jobs.queued)
    right = int(item["pk"]["S"].removeprefix("slots#"))
    d.put(Table.OWNERS, item | {"pk": {"S": f"slots#{(right + 1) % 8}"}})


@found_as("slot", "is taken for a succeeded job")
def slot_of_an_ended_job(d: Deployed) -> None:
    """A slot is taken for a job that has ended."""
    item = _slot_item(d, d.jobs.queued)
    name = item["sk"]["S"].replace(d.jobs.queued.id, d.jobs.succeeded.id)
    d.put(Table.OWNERS, item | {"sk": {"S": name}})


@found_as("slot", "is taken for a missing job")
def slot_of_a_missing_job(d: Deployed) -> None:
    """A slot is taken for a job that is not there."""
    item = _slot_item(d, d.jobs.queued)
    name = item["sk"]["S"].replace(d.jobs.queued.id, random_job_id(d.now))
    d.put(Table.OWNERS, item | {"sk": {"S": name}})


@found_as("slot", "whose end does not free it")
def slot_of_a_job_without_has_slot(d: Deployed) -> None:
    """A slot is taken for a job, but the job's row does not say so."""
    d.save(replace(d.jobs.queued, has_slot=False))


@found_as("slot", "has not put the job")
def slot_of_another_post(d: Deployed) -> None:
    """A slot is kept for hours by a post of a job that another post has put."""
    item = _slot_item(d, d.jobs.queued)
    owner, _, _, job_id = item["sk"]["S"].split("#")
    early = (d.now - 5 * HOUR).timestamp()
    d.put(Table.OWNERS, item | {"sk": {"S": f"{owner}#slot#{int(early * 1e6):014x}#{job_id}"}})


@found_as("slot", "but holds")
def counter_too_high(d: Deployed) -> None:
    """A counter counts seven slots that are not there."""
    item = _part_item(d)
    d.put(Table.OWNERS, item | {"n": _n(int(item["n"]["N"]) + 7)})


@found_as("slot", "but holds")
def counter_missing(d: Deployed) -> None:
    """A counter is deleted while its slots are held."""
    pk = slots_shard(FOX)["S"]
    part = _slot_item(d, d.jobs.queued)["part"]["N"]
    d.delete(Table.OWNERS, pk, f"fox#part#{part}")


@found_as("slot", "counts -3")
def counter_negative(d: Deployed) -> None:
    """A counter is negative."""
    d.put(Table.OWNERS, _part_item(d) | {"n": _n(-3)})


@found_as("slot", "but its keys allow 2")
def more_slots_than_the_cap(d: Deployed) -> None:
    """An owner holds more slots than any of its keys allows."""
    d.set(Table.KEYS, FOX_KEY, "", max_active_jobs=_n(2))


@found_as("owner", "cannot be read")
def slot_unreadable(d: Deployed) -> None:
    """The name of a slot has no time."""
    d.put(Table.OWNERS, {"pk": slots_shard(FOX), "sk": {"S": "fox#slot#zz"}, "part": _n(0)})


@found_as("rate", "posts in minute")
def rate_of_the_future(d: Deployed) -> None:
    """The rate counts posts of a minute next year, so this year's posts are refused."""
    minute = minute_of(d.now + 365 * DAY)
    d.set(Table.OWNERS, slots_shard(FOX)["S"], "fox#rate", minute=_n(minute))


@found_as("budget", "in window")
def budget_of_the_future(d: Deployed) -> None:
    """A budget counts in a window of next year, so this year's requests are refused."""
    later = window_of(REQUESTS, d.now + 365 * DAY)
    d.set(Table.OWNERS, "budget#fox", REQUESTS.name, window=_n(later))


@found_as("budget", "counts -1")
def budget_negative(d: Deployed) -> None:
    """A budget counts minus one request."""
    d.set(Table.OWNERS, "budget#fox", REQUESTS.name, used=_n(-1))


@found_as("budget", "has no TTL")
def budget_without_ttl(d: Deployed) -> None:
    """A budget has no TTL."""
    d.set(Table.OWNERS, "budget#fox", REQUESTS.name, ttl=None)


@found_as("owner", "cannot be read")
def budget_of_unknown_name(d: Deployed) -> None:
    """There is a budget that nothing counts."""
    item = d.item(Table.OWNERS, "budget#fox", REQUESTS.name)
    d.put(Table.OWNERS, item | {"sk": {"S": "coffee"}})


# --- the ledger -----------------------------------------------------------------------------------


def _totals(d: Deployed, **more: float) -> None:
    name = d.names(Table.OWNERS, "totals")[0]
    item = d.item(Table.OWNERS, "totals", name)
    sums = {key: _n(float(item.get(key, _n(0))["N"]) + extra) for key, extra in more.items()}
    d.put(Table.OWNERS, item | sums)


@found_as("ledger", "the totals say")
def totals_off_by_a_thousand(d: Deployed) -> None:
    """The totals have a thousand expired jobs more than were counted."""
    _totals(d, jobs_expired=1000)


@found_as("ledger", "have succeeded")
def totals_of_successes_too_high(d: Deployed) -> None:
    """The totals have more jobs that succeeded than jobs that started."""
    _totals(d, jobs_succeeded=1000)


@found_as("ledger", "are noted as counted")
def totals_too_low(d: Deployed) -> None:
    """The totals have fewer jobs than notes."""
    for name in d.names(Table.OWNERS, "totals"):
        item = d.item(Table.OWNERS, "totals", name)
        if "jobs_canceled" in item:
            d.put(Table.OWNERS, {k: v for k, v in item.items() if k != "jobs_canceled"})


@found_as("ledger", "have a wait")
def totals_of_durations_off(d: Deployed) -> None:
    """The totals have more durations than waits."""
    _totals(d, duration_10=1)


@found_as("ledger", "but the totals say")
def usage_off_by_a_million(d: Deployed) -> None:
    """A row of older code adds a million GPU seconds to the usage of an owner."""
    row = {"pk": {"S": "usage#fox"}, "sk": {"S": "0"}, "jobs": _n(1)}
    d.put(Table.OWNERS, row | {"gpu_seconds": _n(1e6)})


@found_as("ledger", "but its usage is")
def usage_deleted(d: Deployed) -> None:
    """The usage of an owner is deleted."""
    for name in d.names(Table.OWNERS, "totals"):
        if name.startswith("bear#"):
            d.delete(Table.OWNERS, "totals", name)


@found_as("ledger", "negative sum")
def usage_negative(d: Deployed) -> None:
    """The usage of an owner is negative."""
    (name,) = (name for name in d.names(Table.OWNERS, "totals") if name.startswith("fox#"))
    d.set(Table.OWNERS, "totals", name, gpu_jobs=_n(-1))


def _months(d: Deployed, owner: str) -> tuple[str, str, str]:
    """The name of a row of the owner, and those of its newest month's sums."""
    (name,) = (name for name in d.names(Table.OWNERS, "totals") if name.startswith(f"{owner}#"))
    item = d.item(Table.OWNERS, "totals", name)
    month = max(key[1:] for key in item if key[0] == "s" and key[1:].isdigit())
    return name, f"s{month}", f"j{month}"


@found_as("ledger", "in its months, in all")
def month_ahead_of_the_usage(d: Deployed) -> None:
    """A month of an owner has more GPU seconds than the owner has in all."""
    name, seconds, _ = _months(d, "bear")
    d.set(Table.OWNERS, "totals", name, **{seconds: _n(1e6)})


@found_as("ledger", "in the future")
def month_in_the_future(d: Deployed) -> None:
    """An owner has used a GPU in a month that has not begun."""
    name, _, _ = _months(d, "bear")
    d.set(Table.OWNERS, "totals", name, s9912=_n(0.001), j9912=_n(0))


@found_as("ledger", "but its usage is")
def month_deleted(d: Deployed) -> None:
    """The usage of a month is deleted, though its jobs were counted."""
    name, seconds, jobs = _months(d, "bear")
    d.set(Table.OWNERS, "totals", name, **{seconds: None, jobs: None})


def _group(d: Deployed) -> tuple[str, str]:
    """The key of the group of the failed job."""
    end = d.jobs.failed.finished_at
    assert end is not None
    day = f"errors#{end.date()}"
    return day, next(name for name in d.names(Table.OWNERS, day) if not name.startswith("kinds"))


@found_as("failures", "are noted, but the group counts")
def failures_deleted(d: Deployed) -> None:
    """A group of failures is deleted, though its jobs were counted."""
    d.delete(Table.OWNERS, *_group(d))


@found_as("failures", "has no TTL")
def failures_without_ttl(d: Deployed) -> None:
    """A group of failures is kept for ever."""
    d.set(Table.OWNERS, *_group(d), ttl=None)


@found_as("failures", "of another kind")
def failures_of_another_kind(d: Deployed) -> None:
    """A group has the name of another kind, so new failures would not be added to it."""
    d.set(Table.OWNERS, *_group(d), node_type={"S": "Other"})


@found_as("failures", "kinds")
def failures_of_too_many_kinds(d: Deployed) -> None:
    """A bucket of owners has brought more kinds than it may."""
    day, _ = _group(d)
    (name,) = (name for name in d.names(Table.OWNERS, day) if name.startswith("kinds"))
    d.set(Table.OWNERS, day, name, kinds={"SS": [f"{n:016x}" for n in range(100)]})


@found_as("failures", "in the future")
def failures_of_the_future(d: Deployed) -> None:
    """A group is of a day that has not begun."""
    item = d.item(Table.OWNERS, *_group(d))
    d.put(Table.OWNERS, item | {"pk": {"S": "errors#2999-01-01"}})


@found_as("ledger", "no note that it was counted")
def settled_but_not_counted(d: Deployed) -> None:
    """A job is settled and was not counted."""
    job = d.jobs.canceled
    d.delete(Table.OWNERS, f"counted#{job.id}", f"counted#{job.incarnation}")


@found_as("ledger", "was counted, but has not ended")
def counted_while_live(d: Deployed) -> None:
    """A job was counted before its end, so its end will not be."""
    job = d.jobs.queued
    note = {"pk": {"S": f"counted#{job.id}"}, "sk": {"S": f"counted#{job.incarnation}"}}
    d.put(Table.OWNERS, note | {"ttl": ttl_of(d.now + 30 * DAY)})


@found_as("ledger", "another TTL")
def note_removed_too_early(d: Deployed) -> None:
    """The note of a counted job is removed in a day, so the job could be counted twice."""
    job = d.jobs.canceled
    name = f"counted#{job.incarnation}"
    d.set(Table.OWNERS, f"counted#{job.id}", name, ttl=ttl_of(d.now + DAY))


@found_as("ledger", "has no TTL")
def note_without_ttl(d: Deployed) -> None:
    """The note of a counted job has no TTL."""
    job = d.jobs.canceled
    d.set(Table.OWNERS, f"counted#{job.id}", f"counted#{job.incarnation}", ttl=None)


@found_as("owner", "cannot be read")
def sum_unreadable(d: Deployed) -> None:
    """A row of the totals has a name that is no number."""
    d.put(Table.OWNERS, {"pk": {"S": "totals"}, "sk": {"S": "all"}, "gpu_seconds": _n(0)})


# --- places ---------------------------------------------------------------------------------------


def _places(d: Deployed, name: str, **places: Any) -> None:
    row = {"pk": {"S": "semaphore"}, "sk": {"S": name}, "places": {"M": places}}
    d.put(Table.OWNERS, row)


def _held_until(end: datetime) -> dict[str, str]:
    return {"S": f"{time_of(end)['N']}/00000000/0"}


@found_as("place", "longer than any function runs")
def place_taken_for_ever(d: Deployed) -> None:
    """A place of the wait room is taken until next year."""
    _places(d, "waits", a=_held_until(d.now + 365 * DAY))


@found_as("place", "no time")
def place_unreadable(d: Deployed) -> None:
    """A place of the wait room has no readable end."""
    _places(d, "waits", a={"S": "soon"})


@found_as("place", "is over", is_leftover=True)
def place_of_a_dead_function(d: Deployed) -> None:
    """A place of the sweeper's lock is left of a function that died."""
    _places(d, "sweep", a=_held_until(d.now - HOUR))


@found_as("owner", "cannot be read")
def semaphore_of_unknown_name(d: Deployed) -> None:
    """There is a room that nothing uses."""
    _places(d, "lobby")


# --- sockets --------------------------------------------------------------------------------------


def _socket(d: Deployed, **attributes: Any) -> None:
    d.set(Table.CONNECTIONS, f"conn#{SOCKET}", "conn", **attributes)


def _subscription(d: Deployed, socket: str, job: Job) -> None:
    item = d.item(Table.CONNECTIONS, f"job#{d.jobs.running.id}", f"conn#{SOCKET}")
    keys = {"pk": {"S": f"job#{job.id}"}, "sk": {"S": f"conn#{socket}"}}
    d.put(Table.CONNECTIONS, item | keys)


@found_as("subscription", "shows a job of bear to a socket of fox")
def subscription_to_another_owners_job(d: Deployed) -> None:
    """Fox's socket is subscribed to bear's job."""
    _socket(d, jobs={"SS": sorted([d.jobs.running.id, d.jobs.of_bear.id])})
    _subscription(d, SOCKET, d.jobs.of_bear)


@found_as("subscription", "is not named by its socket")
def subscription_not_named(d: Deployed) -> None:
    """A subscription is not named in the row of its socket."""
    _subscription(d, SOCKET, d.jobs.queued)


@found_as("socket", "to which it is not subscribed", is_leftover=True)
def socket_names_a_job(d: Deployed) -> None:
    """The row of a socket names a job without a subscription."""
    _socket(d, jobs={"SS": sorted([d.jobs.running.id, d.jobs.queued.id])})


@found_as("subscription", "has no socket", is_leftover=True)
def subscription_without_socket(d: Deployed) -> None:
    """A subscription is left of a socket that is not there."""
    _subscription(d, "gone", d.jobs.running)


@found_as("subscription", "job that is not there", is_leftover=True)
def subscription_to_missing_job(d: Deployed) -> None:
    """A subscription is left of a job that is not there."""
    missing = replace(d.jobs.queued, id=random_job_id(d.now))
    _socket(d, jobs={"SS": sorted([d.jobs.running.id, missing.id])})
    _subscription(d, SOCKET, missing)


@found_as("subscription", "another TTL than its socket")
def subscription_for_a_week(d: Deployed) -> None:
    """A subscription outlives its socket by a week."""
    ttl = ttl_of(d.now + 7 * DAY)
    d.set(Table.CONNECTIONS, f"job#{d.jobs.running.id}", f"conn#{SOCKET}", ttl=ttl)


@found_as("subscription", "in the future")
def subscription_of_the_future(d: Deployed) -> None:
    """A subscription was made tomorrow."""
    since = time_of(d.now + DAY)
    d.set(Table.CONNECTIONS, f"job#{d.jobs.running.id}", f"conn#{SOCKET}", since=since)


@found_as("socket", "its key is of bear")
def socket_of_another_owners_key(d: Deployed) -> None:
    """A socket of fox's was opened with bear's key."""
    _socket(d, key_id={"S": BEAR_KEY})


@found_as("socket", "which does not exist")
def socket_of_missing_key(d: Deployed) -> None:
    """A socket was opened with a key that does not exist."""
    _socket(d, key_id={"S": "f" * 16})


@found_as("socket", "in the wrong shard")
def socket_in_the_wrong_shard(d: Deployed) -> None:
    """A socket is not in the index, so it stays open when its key is disabled."""
    _socket(d, open_shard=None)


@found_as("socket", "lives longer")
def socket_for_a_week(d: Deployed) -> None:
    """A socket lives for a week."""
    end = d.now + 7 * DAY
    _socket(d, expires_at=time_of(end), ttl=ttl_of(end))


@found_as("socket", "another TTL than its end")
def socket_with_another_ttl(d: Deployed) -> None:
    """The TTL of a socket is not its end."""
    _socket(d, ttl=ttl_of(d.now + 7 * DAY))


@found_as("socket", "no name of an owner")
def socket_of_a_reserved_owner(d: Deployed) -> None:
    """A socket is of an owner with a name that no caller can have."""
    _socket(d, owner={"S": "~waits"})


@found_as("socket", "is closed", is_leftover=True)
def socket_closed(d: Deployed) -> None:
    """The row of a socket is left that the gateway has closed."""
    item = d.item(Table.CONNECTIONS, f"conn#{SOCKET}", "conn")
    gone = {"pk": {"S": "conn#gone"}, "open_shard": open_shard(ConnectionId("gone"))}
    d.put(Table.CONNECTIONS, {n: v for n, v in (item | gone).items() if n != "jobs"})


@found_as("socket", "cannot be read")
def socket_unreadable(d: Deployed) -> None:
    """The row of a socket has no owner."""
    _socket(d, owner=None)


@found_as("pass", "valid for too long")
def pass_for_a_day(d: Deployed) -> None:
    """A socket pass is valid for a day."""
    end = d.now + DAY
    d.set(Table.CONNECTIONS, f"pass#{PASS}", "pass", expires_at=time_of(end), ttl=ttl_of(end))


@found_as("pass", "but its key is of bear")
def pass_of_another_owners_key(d: Deployed) -> None:
    """A socket pass of fox's has bear's key."""
    d.set(Table.CONNECTIONS, f"pass#{PASS}", "pass", key_id={"S": BEAR_KEY})


@found_as("pass", "another TTL")
def pass_without_ttl(d: Deployed) -> None:
    """A socket pass has no TTL."""
    d.set(Table.CONNECTIONS, f"pass#{PASS}", "pass", ttl=None)


@found_as("pass", "no SHA-256")
def pass_of_a_strange_name(d: Deployed) -> None:
    """The name of a socket pass is no SHA-256."""
    item = d.item(Table.CONNECTIONS, f"pass#{PASS}", "pass")
    d.put(Table.CONNECTIONS, item | {"pk": {"S": "pass#secret"}})


@found_as("link", "valid for too long")
def link_for_a_day(d: Deployed) -> None:
    """A link that signs in is valid for a day."""
    end = d.now + DAY
    d.set(Table.CONNECTIONS, f"link#{PASS}", "link", expires_at=time_of(end), ttl=ttl_of(end))


@found_as("session", "valid for too long")
def session_for_a_week(d: Deployed) -> None:
    """A session lives for a week."""
    end = d.now + 7 * DAY
    _session(d, expires_at=time_of(end), ttl=ttl_of(end))


@found_as("session", "but its key is of fox")
def session_of_another_owners_key(d: Deployed) -> None:
    """A session of bear's has fox's key."""
    _session(d, owner={"S": BEAR})


def _session(d: Deployed, **attributes: Any) -> None:
    d.set(Table.CONNECTIONS, f"session#{FOX_KEY}", f"session#{SESSION}", **attributes)


# --- keys -----------------------------------------------------------------------------------------


def _key(d: Deployed, **attributes: Any) -> None:
    d.set(Table.KEYS, BEAR_KEY, "", **attributes)


@found_as("key", "no name of an owner")
def key_of_a_reserved_owner(d: Deployed) -> None:
    """A key is of the owner ~waits, with the scope admin."""
    _key(d, owner={"S": "~waits"}, scopes={"L": [{"S": "admin"}]})


@found_as("key", "has the scopes")
def key_of_unknown_scope(d: Deployed) -> None:
    """A key has a scope that does not exist."""
    _key(d, scopes={"L": [{"S": "root"}]})


@found_as("key", "has the scopes")
def made_key_that_makes_keys(d: Deployed) -> None:
    """A key that a key has made has the scope keys."""
    scopes = {"L": [{"S": "jobs"}, {"S": "keys"}]}
    _key(d, scopes=scopes, made_by={"S": "0" * 15 + "9"})


@found_as("key", "cannot have made it")
def key_made_by_another_owner(d: Deployed) -> None:
    """A key was made by the key of another owner."""
    _key(d, made_by={"S": FOX_KEY})


@found_as("key", "cannot be read")
def key_unreadable(d: Deployed) -> None:
    """A key has no owner."""
    _key(d, owner=None)


@found_as("key", "no SHA-256 of a secret")
def key_with_a_plain_secret(d: Deployed) -> None:
    """A key holds a secret instead of its hash."""
    _key(d, secret_sha256={"S": "secret"})


@found_as("key", "no key can have")
def key_of_a_strange_id(d: Deployed) -> None:
    """A key has an id that no token can name."""
    d.put(Table.KEYS, d.item(Table.KEYS, BEAR_KEY) | {"pk": {"S": "bears key"}})


@found_as("key", "has max_active_jobs")
def key_with_a_huge_cap(d: Deployed) -> None:
    """A key allows more jobs than a deployment can count."""
    _key(d, max_active_jobs=_n(10**9))


@found_as("key", "expired before it was created")
def key_expired_before_creation(d: Deployed) -> None:
    """A key expired before it was created."""
    _key(d, expires_at=time_of(d.now - 30 * DAY))


@found_as("key", "created in the future")
def key_of_the_future(d: Deployed) -> None:
    """A key was created next year."""
    _key(d, created_at=time_of(d.now + 365 * DAY))


@found_as("key", "is not a switch")
def switch_unreadable(d: Deployed) -> None:
    """A switch of the operator holds a text."""
    d.set(Table.KEYS, "flags", "", jobs_enabled={"S": "yes"})


# --- reports of workers ---------------------------------------------------------------------------


def _report(d: Deployed, **attributes: Any) -> None:
    name = next(n for n in d.names(Table.JOBS, WORKERS["S"]) if n.startswith("wrk_"))
    d.set(Table.JOBS, WORKERS["S"], name, **attributes)


@found_as("presence", "cannot be read")
def report_unreadable(d: Deployed) -> None:
    """The report of a worker has a text for a number."""
    _report(d, running={"S": "many"})


@found_as("presence", "active for too long")
def report_for_a_year(d: Deployed) -> None:
    """A worker is reported as active until next year, so the fleet is one too small."""
    end = d.now + 365 * DAY
    _report(d, until=time_of(end), ttl=ttl_of(end + HOUR))


@found_as("presence", "another TTL")
def report_without_ttl(d: Deployed) -> None:
    """The report of a worker has no TTL."""
    _report(d, ttl=None)


@found_as("presence", "negative count")
def report_of_negative_jobs(d: Deployed) -> None:
    """A worker reports that it holds minus two jobs."""
    _report(d, held=_n(-2))


@found_as("presence", "no worker can have")
def report_of_a_strange_worker(d: Deployed) -> None:
    """A report has an id that no worker can have."""
    name = next(n for n in d.names(Table.JOBS, WORKERS["S"]) if n.startswith("wrk_"))
    d.put(Table.JOBS, d.item(Table.JOBS, WORKERS["S"], name) | {"sk": {"S": "me"}})


@found_as("item", "cannot be read")
def engine_unreadable(d: Deployed) -> None:
    """What an engine has published is damaged."""
    d.set(Table.JOBS, "engine", "v1", body={"B": zlib.compress(b"[")})
