"""Messages of the WebSocket of API v1: every message fits into a frame and says its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.api.v1.messages import (
    MessageEncoder,
    closing_message,
    encoded,
    status_message,
)
from comfyline.api.v1.views import job_view
from comfyline.contract.limits import (
    MAX_ARTIFACTS_IN_MESSAGE,
    MAX_MESSAGE_BYTES,
    MAX_RESPONSE_BYTES,
)
from comfyline.contract.v1.socket import DoneMessage, server_message
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.bounds import bounded
from comfyline.service.jobs.decide import on_fault
from comfyline.service.jobs.job import Job, JobError, JobParams, JobRecord
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.result import JobResult, ResultWarning
from comfyline.service.live.messages import (
    ClosingNotice,
    JobEnded,
    Message,
    ProgressMade,
    ending_of,
    state_of,
    unannounced,
)
from comfyline.service.texts import valid_text
from gpu_worker.collector import safe_name
from tests.support.builders import (
    NOW,
    FrozenClock,
    a_job,
    a_record,
    an_artifact,
    canceled,
    claimed,
    running,
    succeeded,
)
from tests.support.hostile import hostile_texts

BOOM = JobError(type="boom", message="it broke", node_id="5")


def failed(job: Job) -> Job:
    job = running(job)
    return advance(job, ev.FailedForGood(attempt=job.attempt, error=BOOM), NOW)


def interrupted(job: Job) -> Job:
    job = running(job)
    return advance(job, ev.Interrupted(attempt=job.attempt), NOW)


def failed_once(job: Job) -> Job:
    job = running(job)
    return advance(job, ev.Failed(attempt=job.attempt, error=BOOM), NOW)


def faulted(*, is_healthy: bool) -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        job = running(job)
        return advance(job, on_fault(job, job.attempt, BOOM, is_healthy=is_healthy), NOW)

    return change


ENDED = st.sampled_from([succeeded, failed, canceled]).map(lambda change: change(a_job()))
NAMES = st.lists(st.text(min_size=1, max_size=3000), max_size=20)


class LongUrls(InMemoryArtifactStore):
    def sign(self, key: str, *, name: str, seconds: int) -> str:
        return f"https://s3.test/{key}?X-Amz-Security-Token=" + "t" * 4000


def encoder(artifacts: InMemoryArtifactStore | None = None) -> MessageEncoder:
    return MessageEncoder(artifacts or InMemoryArtifactStore(), FrozenClock())


def record_of(job: Job, names: list[str]) -> JobRecord:
    files = [replace(an_artifact(job, n), name=name) for n, name in enumerate(names)]
    return a_record(job, *files)


def whole_ending(record: JobRecord) -> list[Message]:
    return ending_of(record, unannounced(record, 0), record.artifacts)


@given(ENDED, NAMES)
def test_an_end_always_fits_and_marks_what_is_left_out(job: Job, names: list[str]) -> None:
    end = whole_ending(record_of(job, names))[-1]
    assert len(encoder()(end)) <= MAX_MESSAGE_BYTES
    done = encoder().job_message(end)
    assert isinstance(done, DoneMessage)
    if done.result is not None:
        shown = [artifact.name for artifact in done.result.artifacts]
        assert shown == names[: len(shown)]
        assert done.result.truncated == (len(shown) < len(names))


def test_an_end_fits_however_long_the_urls_are() -> None:
    job = succeeded(a_job())
    messages = whole_ending(record_of(job, [f"{n}.png" for n in range(20)]))
    long_urls = encoder(LongUrls())
    assert max(len(long_urls(message)) for message in messages) <= MAX_MESSAGE_BYTES
    assert [message.part for message in messages] == list(range(1, 22))
    done = long_urls.job_message(messages[-1])
    assert isinstance(done, DoneMessage)
    assert done.result is not None
    assert done.result.truncated
    assert 0 < len(done.result.artifacts) <= MAX_ARTIFACTS_IN_MESSAGE


def end_with(result: JobResult, count: int = 0) -> DoneMessage:
    job = succeeded(a_job())
    record = record_of(job, [f"{n}.png" for n in range(count)])
    whole = replace(record, result=replace(result, artifacts=record.artifacts))
    end = whole_ending(whole)[-1]
    assert len(encoder()(end)) <= MAX_MESSAGE_BYTES
    done = encoder().job_message(end)
    assert isinstance(done, DoneMessage)
    return done


def test_an_end_has_the_whole_result_if_it_fits() -> None:
    warning = ResultWarning(type="file_missing", message="a.png", node_id="7")
    done = end_with(
        JobResult(values={"7": {"value": [1]}}, warnings=(warning,), is_partial=True), 3
    )
    assert done.result is not None
    assert (done.result.values, done.result.partial) == ({"7": {"value": [1]}}, True)
    assert [(w.type, w.node_id) for w in done.result.warnings] == [("file_missing", "7")]
    assert (len(done.result.artifacts), done.result.artifacts_total) == (3, 3)
    assert not done.result.truncated


@pytest.mark.parametrize("count", [0, 5, 100])
def test_an_end_leaves_out_values_before_warnings_and_warnings_before_files(count: int) -> None:
    warnings = tuple(ResultWarning(type="t", message="m" * 500) for _ in range(30))
    values = {"7": {"text": "x" * 60_000}}
    done = end_with(JobResult(values=values, values_cut=("8.a",), warnings=warnings), count)
    assert done.result is not None
    assert (done.result.values, done.result.values_cut, done.result.truncated) == ({}, [], True)
    assert len(done.result.warnings) == 30
    assert done.result.artifacts_total == count
    many = tuple(ResultWarning(type="t", message="\x00" * 500) for _ in range(100))
    done = end_with(JobResult(warnings=many, empty_reason="why"), count)
    assert done.result is not None
    assert (done.result.warnings, done.result.empty_reason) == ([], "why")
    assert len(done.result.artifacts) == min(count, MAX_ARTIFACTS_IN_MESSAGE)


def test_an_error_is_part_of_the_end() -> None:
    job = failed(a_job())
    record = record_of(job, [])
    done = encoder().job_message(JobEnded(version=job.version, part=1, record=record))
    assert isinstance(done, DoneMessage)
    assert done.error is not None
    assert (done.result, done.error.type, done.error.node_id) == (None, "boom", "5")


def test_progress_has_a_signed_url_of_its_preview() -> None:
    job = running(a_job())
    shown = [
        ProgressMade(job_id=job.id, version=4, progress=job.progress, preview=key)
        for key in (None, "jobs/x/preview")
    ]
    without, with_one = (json.loads(encoder()(message)) for message in shown)
    assert "preview" not in without
    url = InMemoryArtifactStore().sign("jobs/x/preview", name="preview", seconds=900)
    assert with_one["preview"] == url


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (claimed, "claimed"),
        (running, None),
        (interrupted, "interrupted"),
        (failed_once, "attempt_failed"),
        (faulted(is_healthy=True), "attempt_failed"),
        (faulted(is_healthy=False), "worker_unhealthy"),
        (succeeded, None),
    ],
)
def test_a_waiting_job_has_the_reason_of_its_wait(change: object, reason: str | None) -> None:
    assert callable(change)
    job = change(a_job())
    message = status_message(state_of(job))
    assert (message.status, message.reason) == (job.status, reason)
    assert message.snapshot is None


def test_a_closing_notice_is_an_error_message() -> None:
    message = closing_message(ClosingNotice("key_void", "The key has expired."))
    assert server_message.validate_json(encoded(message)) == message
    assert (message.code, message.message) == ("key_void", "The key has expired.")


@given(hostile_texts(20_000))
def test_every_frame_and_view_of_a_job_with_any_texts_is_small_json(text: str) -> None:
    error = JobError(type=text, message=text, node_id=text, node_type=text)
    progress = Progress(node=text, node_type=text, message=text)
    at_work = running(a_job())
    at_work = advance(at_work, ev.Progressed(attempt=1, progress=progress), NOW)
    job = advance(at_work, ev.FailedForGood(attempt=1, error=error), NOW)
    warning = ResultWarning(type=text, message=text, node_id=text, node_type=text)
    files = [
        replace(an_artifact(job, number), name=safe_name(text), node=text) for number in range(9)
    ]
    made = JobResult(
        artifacts=tuple(files),
        values={text: {text: [text, {text: text}]}},
        values_cut=(text,),
        warnings=(warning,) * 3,
        empty_reason=text,
    )
    params = JobParams(params={"prompt": valid_text(text)}, metadata={"k": valid_text(text)})
    record = JobRecord(job, params, bounded(made), len(files))
    messages = [ProgressMade(job_id=job.id, version=3, progress=progress), *whole_ending(record)]
    for frame in map(encoder(), messages):
        assert len(frame) <= MAX_MESSAGE_BYTES
        assert server_message.validate_json(frame).job_id == job.id
    view = job_view(record, store=InMemoryArtifactStore(), now=NOW).model_dump_json()
    assert len(view.encode()) <= MAX_RESPONSE_BYTES
    assert json.loads(view)["error"]["attempt"] == 1
