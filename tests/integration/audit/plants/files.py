"""Inconsistencies in results and files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfyline.adapters.aws.jobs import results, siblings
from comfyline.contract.ids import random_job_id
from comfyline.operate.audit.source import Table
from comfyline.service.jobs.artifact_keys import artifact_key, thumbnail_key
from comfyline.service.jobs.job import Job
from tests.integration.audit.plants.plant import found_as
from tests.support.audited import (
    Deployed,
)


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
