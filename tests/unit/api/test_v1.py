"""Views and messages: what a job shows never depends on who asks or how often, and always fits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.api.v1.messages import ending_messages, missed_messages, status_message
from comfyline.api.v1.views import accepted, event_list, job_view, status_of
from comfyline.contract.limits import MAX_MESSAGE_BYTES
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import DoneMessage
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobError, JobRecord, Status
from comfyline.service.jobs.lifecycle import advance
from tests.support.builders import (
    NOW,
    a_job,
    an_artifact,
    canceled,
    claimed,
    running,
    some_params,
    succeeded,
)

STORE = InMemoryArtifactStore()
BOOM = JobError(type="boom", message="it broke", node_id="5")
ROOM = MAX_MESSAGE_BYTES


def failed(job: Job) -> Job:
    job = running(job)
    return advance(job, ev.FailedForGood(attempt=job.attempt, error=BOOM), NOW)


def canceling(job: Job) -> Job:
    return advance(running(job), ev.CancelRequested(), NOW)


def interrupted(job: Job) -> Job:
    job = running(job)
    return advance(job, ev.Interrupted(attempt=job.attempt), NOW)


STATES = [lambda j: j, claimed, running, canceling, interrupted, succeeded, failed, canceled]
JOBS = st.sampled_from(STATES).map(lambda change: change(a_job()))
ENDED = st.sampled_from([succeeded, failed, canceled]).map(lambda change: change(a_job()))
FILES = st.lists(st.text(min_size=1, max_size=3000), max_size=20)


def record_of(job: Job, names: list[str] = []) -> JobRecord:  # noqa: B006 never changed
    files = [replace(an_artifact(job, n), name=name) for n, name in enumerate(names)]
    return JobRecord(job, some_params(), tuple(files))


@given(JOBS)
def test_a_job_is_shown_in_one_state_everywhere(job: Job) -> None:
    state = status_of(job)
    view = job_view(record_of(job), store=STORE, now=NOW)
    assert view.status == accepted(job).status == status_message(job).status == state
    assert state == ("canceling" if job.is_canceling else job.status)
    assert responses.JobView.model_validate_json(view.model_dump_json()) == view


@given(JOBS)
def test_only_what_has_ended_shows_files(job: Job) -> None:
    view = job_view(record_of(job, ["a.png"]), store=STORE, now=NOW)
    assert (view.result is not None) == job.status.is_terminal
    assert job_view(record_of(job, ["a.png"]), store=None, now=NOW).result is None


def test_what_failed_without_a_file_has_no_result_and_a_success_has() -> None:
    for job in (failed(a_job()), canceled(a_job())):
        assert job_view(record_of(job), store=STORE, now=NOW).result is None
    shown = job_view(record_of(succeeded(a_job())), store=STORE, now=NOW).result
    assert shown is not None
    assert shown.artifacts == []


@given(JOBS, st.integers(0, 12))
def test_what_was_missed_and_the_state_are_told_in_order_and_once(job: Job, after: int) -> None:
    told = [*missed_messages(job, after), status_message(job, snapshot=True)]
    versions = [message.version for message in told]
    assert versions == sorted(set(versions))
    assert versions[-1] == job.version
    known = [line.version for line in job.history if line.version > after]
    assert set(known) <= set(versions)
    assert [e.version for e in event_list(job, after=after).events] == known


@given(ENDED, FILES)
def test_an_end_always_fits_and_says_what_is_left_out(job: Job, names: list[str]) -> None:
    *files, done = ending_messages(record_of(job, names), STORE, NOW)
    assert isinstance(done, DoneMessage)
    assert len(done.model_dump_json(exclude_none=True).encode()) <= ROOM
    assert len(files) == len(names)
    parts = [(message.version, message.part) for message in (*files, done)]
    assert all(one < other for one, other in pairwise(parts))
    if done.result is not None:
        shown = [artifact.name for artifact in done.result.artifacts]
        assert shown == names[: len(shown)]
        assert done.result.truncated == (len(shown) < len(names))


@given(ENDED, FILES, st.integers(0, 20))
def test_files_that_were_told_are_not_told_again(job: Job, names: list[str], told: int) -> None:
    record = record_of(job, names)
    whole, rest = (ending_messages(record, STORE, NOW, told=n) for n in (0, told))
    assert rest == [*whole[:-1][told:], whole[-1]]


def test_a_wait_says_why() -> None:
    assert status_message(interrupted(a_job())).reason == "interrupted"
    assert status_message(claimed(a_job())).reason == "claimed"
    assert status_message(running(a_job())).status == Status.RUNNING
