"""Rows of the jobs table: they are read as written, in other schemas too, and stay small."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comfyline.adapters.aws.attributes import time_of
from comfyline.adapters.aws.jobs import codec, siblings
from comfyline.contract.ids import JobId, OwnerId, WorkerId, random_job_id
from comfyline.service.errors import Unreadable
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import (
    SCHEMA,
    HistoryEntry,
    Job,
    JobError,
    JobOptions,
    Lease,
    PictureEncoding,
    PictureFormat,
    Status,
)
from comfyline.service.jobs.lifecycle import MAX_HISTORY, advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import due_shards
from comfyline.service.queue.lanes import Priority
from tests.support.builders import (
    NOW,
    a_job,
    canceled,
    running,
    settled,
    some_params,
    succeeded,
)
from tests.support.item_size import item_size

TIMES = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
SPANS = st.timedeltas(timedelta(0), timedelta(days=400))
COUNTS = st.integers(0, 10**9)
REALS = st.floats(0, 10**9, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-100)
TEXTS = st.text(max_size=20)
NAMES = st.text(min_size=1, max_size=20)
WORDS = st.from_regex(r"[a-z_]{1,30}", fullmatch=True)

PROGRESS = st.builds(
    Progress,
    fraction=st.floats(0, 1, allow_subnormal=False).filter(lambda x: x == 0 or x > 1e-100),
    node=st.none() | TEXTS,
    node_type=st.none() | TEXTS,
    step=st.none() | COUNTS,
    steps=st.none() | COUNTS,
    nodes_done=COUNTS,
    nodes_total=COUNTS,
    message=st.none() | TEXTS,
)
ERRORS = st.builds(
    JobError,
    type=TEXTS,
    message=TEXTS,
    node_id=st.none() | TEXTS,
    node_type=st.none() | TEXTS,
    attempt=st.none() | COUNTS,
)
HISTORY_ENTRIES = st.builds(HistoryEntry, COUNTS, TIMES, WORDS, st.sampled_from(Status), COUNTS)
JOBS = st.builds(
    Job,
    id=st.just(random_job_id(NOW)),
    owner=NAMES.map(OwnerId),
    fingerprint=NAMES,
    priority=st.sampled_from(Priority),
    queued_at=TIMES,
    start_deadline=TIMES,
    execution_timeout=SPANS,
    retention=SPANS,
    request_id=st.none() | TEXTS,
    schema=st.integers(SCHEMA - 1, SCHEMA + 1),
    status=st.sampled_from(Status),
    version=COUNTS,
    attempt=COUNTS,
    failures=COUNTS,
    faults=COUNTS,
    unhealthy_workers=COUNTS,
    interruptions=COUNTS,
    ticket_sends=COUNTS,
    options=st.builds(
        JobOptions,
        output=st.none()
        | st.builds(PictureEncoding, format=st.sampled_from(PictureFormat), quality=COUNTS),
        wants_previews=st.booleans(),
        strict=st.booleans(),
    ),
    previewed=COUNTS,
    lease=st.none() | st.builds(Lease, NAMES.map(WorkerId), TIMES),
    cancel_requested_at=st.none() | TIMES,
    started_at=st.none() | TIMES,
    attempt_started_at=st.none() | TIMES,
    finished_at=st.none() | TIMES,
    expires_at=st.none() | TIMES,
    due_at=st.none() | TIMES,
    tidy_pending=st.booleans(),
    settle_pending=st.booleans(),
    watched_until=st.none() | TIMES,
    owner_watched_until=st.none() | TIMES,
    progress=PROGRESS,
    error=st.none() | ERRORS,
    cached=st.booleans(),
    gpu_seconds=REALS,
    history=st.lists(HISTORY_ENTRIES, max_size=5).map(tuple),
)


@given(JOBS)
def test_a_job_is_read_as_it_was_written(job: Job) -> None:
    assume(not job.status.is_terminal or None not in (job.finished_at, job.expires_at))
    assert codec.job_of(codec.item_of(job)) == job


@given(JOBS, JOBS)
def test_two_jobs_are_equal_if_their_rows_are(first: Job, second: Job) -> None:
    """`save` writes the attributes that differ, so each difference must be in the row."""
    assert (first == second) == (codec.item_of(first) == codec.item_of(second))


def test_every_field_is_written() -> None:
    names = {field.name for field in fields(Job)}
    assert codec._KINDS_OF_JOB.keys() | {"id", "lease", "history"} == names


# --- schemas --------------------------------------------------------------------------------------


def with_schema(job: Job, schema: int) -> dict[str, Any]:
    return {**codec.item_of(job), "schema": {"N": str(schema)}}


def test_a_row_of_a_newer_schema_is_read_without_its_new_fields() -> None:
    job = succeeded(a_job())
    item = with_schema(job, SCHEMA + 1) | {"novelty": {"M": {"x": {"N": "1"}}}}
    item["progress"] = {"M": {**item["progress"]["M"], "novelty": {"BOOL": True}}}
    item["history"] = {"L": [{"S": line["S"] + " more"} for line in item["history"]["L"]]}
    assert codec.job_of(item) == replace(job, schema=SCHEMA + 1)


def test_a_row_of_an_older_schema_is_read_with_defaults() -> None:
    job = running(a_job())
    item = with_schema(job, SCHEMA - 1)
    for name in ("history", "due_at", "progress"):
        item.pop(name, None)
    expected = replace(job, schema=SCHEMA - 1, history=(), due_at=None, progress=Progress())
    assert codec.job_of(item) == expected


def test_an_ended_row_without_tidy_pending_is_read_by_its_due_time() -> None:
    again = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
    pending = succeeded(again)
    item = codec.item_of(pending)
    assert item.pop("tidy_pending") == {"BOOL": True}
    assert codec.job_of(item) == pending
    tidied = advance(pending, ev.Tidied(), NOW)
    assert "tidy_pending" not in codec.item_of(tidied)
    assert codec.job_of(codec.item_of(tidied)) == tidied


@pytest.mark.parametrize("schema", [SCHEMA - 2, SCHEMA + 2])
def test_other_schemas_are_refused(schema: int) -> None:
    job = a_job()
    with pytest.raises(Unreadable, match=f"{job.id} has schema {schema}"):
        codec.job_of(with_schema(job, schema))


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(TypeError):
        time_of(datetime(2026, 1, 1))  # noqa: DTZ001


# --- indexes and TTL ------------------------------------------------------------------------------


def test_the_due_index_is_sparse() -> None:
    assert {"due_at", "due_shard"} <= codec.item_of(a_job()).keys()
    assert not {"due_at", "due_shard"} & codec.item_of(a_job(due_at=None)).keys()


def test_jobs_are_spread_over_all_due_shards() -> None:
    for is_settled, job in ((False, a_job), (False, an_ended), (True, a_settled)):
        shards = {codec.item_of(job())["due_shard"]["S"] for _ in range(1_000)}
        assert shards == set(due_shards(settled=is_settled))


def an_ended() -> Job:
    return canceled(a_job())


def a_settled() -> Job:
    """A settled job with void files, which are left to the sweeper."""
    return settled(succeeded(advance(running(a_job()), ev.Interrupted(attempt=1), NOW)))


def test_only_a_settled_job_has_a_ttl_which_is_the_end_of_its_retention() -> None:
    assert "ttl" not in codec.item_of(running(a_job()))
    done = succeeded(a_job())
    assert "ttl" not in codec.item_of(done)  # it is not settled
    done = settled(done)
    assert done.expires_at is not None
    seconds = int(codec.item_of(done)["ttl"]["N"])
    assert 0 <= seconds - done.expires_at.timestamp() < 1


@given(TIMES, TIMES)
def test_the_sort_key_of_the_list_has_the_order_of_time(one: datetime, other: datetime) -> None:
    places = codec.listed_at(one, JobId("a")), codec.listed_at(other, JobId("a"))
    assert (one < other) == (places[0] < places[1])


# --- size -----------------------------------------------------------------------------------------


def row_size(job: Job) -> int:
    return item_size(codec.item_of(job) | {"sk": {"S": "job"}})


def at_full_speed(job: Job) -> Job:
    """The largest usual row: halfway, with a message, a subscriber and the id of its request."""
    picture = Progress(
        fraction=0.4782608,
        node="5",
        node_type="KSampler",
        step=11,
        steps=20,
        nodes_done=4,
        nodes_total=7,
        message="KSampler 11/20",
    )
    job = replace(job, request_id="Hk2bXjmGIAMEV3w=", watched_until=NOW + timedelta(hours=2))
    return advance(job, ev.Progressed(attempt=job.attempt, progress=picture), NOW)


def test_a_usual_row_is_billed_as_one_kilobyte() -> None:
    job = at_full_speed(running(a_job()))
    done = advance(job, ev.Succeeded(attempt=1, gpu_seconds=12.345), NOW)
    assert row_size(job) < 1024
    assert row_size(done) < 1024


def test_a_row_with_a_full_history_is_billed_as_two_kilobytes() -> None:
    job, now = a_job(), NOW
    while len(job.history) < MAX_HISTORY:
        now += timedelta(seconds=17, microseconds=1)
        job = running(job, now=now)
        job = advance(job, ev.Interrupted(attempt=job.attempt), now)
    job = at_full_speed(running(job, now=now))
    assert len(job.history) == MAX_HISTORY
    assert 1024 < row_size(job) < 1536


# --- sibling items --------------------------------------------------------------------------------


def test_equal_values_are_packed_to_equal_bytes() -> None:
    assert siblings.pack({"a": 1, "b": [2]}) == siblings.pack({"b": [2], "a": 1})


def test_siblings_are_read_as_they_were_written() -> None:
    assert siblings.unpacked_params(siblings.packed_params(some_params())) == some_params()


def test_a_newer_sibling_is_read_without_its_new_fields() -> None:
    body = siblings.pack({"params": {"a": 1}, "metadata": {}, "novelty": 1})
    assert siblings.unpacked_params(body).params == {"a": 1}
