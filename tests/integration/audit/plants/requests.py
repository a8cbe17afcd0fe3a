"""Inconsistencies in requests, graphs and parameters."""

from __future__ import annotations

from dataclasses import replace

from comfyline.adapters.aws.attributes import time_of, ttl_of
from comfyline.adapters.aws.jobs import siblings
from comfyline.contract.ids import UploadId, random_job_id
from comfyline.operate.audit.source import Table
from comfyline.service.files.uploads import upload_key
from comfyline.service.jobs.job import Job
from tests.integration.audit.plants.plant import DAY, HOUR, found_as
from tests.support.audited import (
    BEAR,
    FOX,
    Deployed,
)


def request_of(job: Job) -> str:
    return siblings.request_sk(job)


def _without_request(d: Deployed, job: Job) -> None:
    for name in d.names(Table.JOBS, job.id):
        if name.startswith(("job#request", "job#params", "input")):
            d.delete(Table.JOBS, job.id, name)


def request_item(d: Deployed, job: Job) -> str:
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
    name = request_item(d, d.jobs.succeeded)
    d.set(Table.JOBS, d.jobs.succeeded.id, name, body={"B": b"\x00garbage"})


@found_as("item", "cannot be read")
def request_without_body(d: Deployed) -> None:
    """The request item of a job has no body."""
    name = request_item(d, d.jobs.succeeded)
    d.set(Table.JOBS, d.jobs.succeeded.id, name, body=None)


@found_as("item", "extra_pnginfo")
def pnginfo_missing(d: Deployed) -> None:
    """A waiting job has lost what ComfyUI writes into its pictures."""
    d.delete(Table.JOBS, d.jobs.queued.id, siblings.pnginfo_sk(d.jobs.queued))


@found_as("item", "has no TTL")
def sibling_without_ttl(d: Deployed) -> None:
    """An item beside a row has no TTL."""
    d.set(Table.JOBS, d.jobs.succeeded.id, request_item(d, d.jobs.succeeded), ttl=None)


@found_as("item", "has another TTL")
def sibling_removed_too_early(d: Deployed) -> None:
    """The request item of a waiting job is removed in an hour."""
    name = request_item(d, d.jobs.queued)
    d.set(Table.JOBS, d.jobs.queued.id, name, ttl=ttl_of(d.now + HOUR))


@found_as("item", "has a name that no part")
def sibling_of_unknown_name(d: Deployed) -> None:
    """An item beside a row has a name that nothing reads."""
    item = d.item(Table.JOBS, d.jobs.queued.id, request_item(d, d.jobs.queued))
    d.put(Table.JOBS, item | {"sk": {"S": "job#notes#1"}})


@found_as("item", "another fingerprint")
def request_of_another_fingerprint(d: Deployed) -> None:
    """A job has a second request, of another fingerprint but of the same post."""
    item = d.item(Table.JOBS, d.jobs.queued.id, request_item(d, d.jobs.queued))
    d.put(Table.JOBS, item | {"sk": {"S": "job#request#" + "1" * 64}})


@found_as("item", "belongs to no job", is_leftover=True)
def request_without_job(d: Deployed) -> None:
    """A request is left of a post that died."""
    item = d.item(Table.JOBS, d.jobs.queued.id, request_item(d, d.jobs.queued))
    d.put(Table.JOBS, item | {"pk": {"S": random_job_id(d.now)}})


@found_as("item", "belongs to an earlier job", is_leftover=True)
def request_of_earlier_job(d: Deployed) -> None:
    """A request is left of an earlier job of the same id."""
    item = d.item(Table.JOBS, d.jobs.queued.id, request_item(d, d.jobs.queued))
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
    item = d.item(Table.JOBS, job.id, request_item(d, job))
    d.put(Table.JOBS, item | {"sk": {"S": siblings.request_sk(job)}})
    d.save(job)
