"""Views, histories and messages show the same state of a job."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.api.v1.history import event_list
from comfyline.api.v1.messages import status_message
from comfyline.api.v1.views import accepted, job_view
from comfyline.contract.v1 import responses
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobError, JobRecord
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.live.messages import missed_states, state_of
from tests.support.builders import (
    NOW,
    a_job,
    a_record,
    an_artifact,
    canceled,
    claimed,
    running,
    succeeded,
)

STORE = InMemoryArtifactStore()
BOOM = JobError(type="boom", message="it broke", node_id="5")


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


def record_of(job: Job, names: list[str] = []) -> JobRecord:  # noqa: B006 never changed
    files = [replace(an_artifact(job, n), name=name) for n, name in enumerate(names)]
    return a_record(job, *files)


@given(JOBS)
def test_a_job_is_shown_in_one_state_everywhere(job: Job) -> None:
    state = job.shown_status
    view = job_view(record_of(job), store=STORE, now=NOW)
    assert view.status == accepted(job).status == status_message(state_of(job)).status == state
    assert state == ("canceling" if job.is_canceling else job.status)
    assert responses.JobView.model_validate_json(view.model_dump_json()) == view


@given(JOBS)
def test_only_an_ended_job_shows_files(job: Job) -> None:
    view = job_view(record_of(job, ["a.png"]), store=STORE, now=NOW)
    assert (view.result is not None) == job.status.is_terminal
    view = job_view(record_of(job, ["a.png"]), store=STORE, now=NOW, has_result=False)
    assert view.result is None


def test_a_failed_job_without_files_has_no_result_and_a_succeeded_one_has() -> None:
    for job in (failed(a_job()), canceled(a_job())):
        assert job_view(record_of(job), store=STORE, now=NOW).result is None
    shown = job_view(record_of(succeeded(a_job())), store=STORE, now=NOW).result
    assert shown is not None
    assert shown.artifacts == []


@given(JOBS, st.integers(0, 12))
def test_the_events_are_those_of_the_history_after_a_version(job: Job, after: int) -> None:
    known = [entry.version for entry in job.history if entry.version > after]
    assert [e.version for e in event_list(job, after=after).events] == known


@given(JOBS, st.integers(-1, 12))
def test_the_history_has_the_message_of_each_change(job: Job, after: int) -> None:
    history = event_list(job, after=after)
    assert [message.version for message in history.messages] == [e.version for e in history.events]
    sent = [status_message(state) for state in (*missed_states(job, after), state_of(job))]
    assert all(message in sent for message in history.messages)
