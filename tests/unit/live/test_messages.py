"""Changes of a job become messages: values with an order, made without any store."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.jobs import events as ev
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job, JobRecord
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.live.messages import (
    MAX_FILES_AT_ONCE,
    FileStored,
    JobEnded,
    ProgressMade,
    StateChanged,
    ending_of,
    message_of,
    missed_states,
    order_of,
    state_of,
    unannounced,
)
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
from tests.support.happenings import at, claim, fail_once, interrupt, start, succeed
from tests.unit.live.world import FollowedWorld

JOBS = st.sampled_from([lambda j: j, claimed, running, succeeded, canceled]).map(
    lambda change: change(a_job())
)
ENDED = st.sampled_from([succeeded, canceled]).map(lambda change: change(a_job()))


def test_each_change_of_state_is_a_message_with_its_event(world: FollowedWorld) -> None:
    world.happens(world.queued(), claim, start, interrupt, claim, fail_once, claim, start, succeed)
    messages = [m for change in world.stream[1:] if (m := message_of(change))]
    assert [(m.status, m.event) for m in messages if isinstance(m, StateChanged)] == [
        ("queued", "claimed"),
        ("running", "started"),
        ("queued", "interrupted"),
        ("queued", "claimed"),
        ("queued", "failed"),
        ("queued", "claimed"),
        ("running", "started"),
        ("succeeded", "succeeded"),
    ]
    assert [m.version for m in messages] == list(range(2, 10))


def test_a_job_given_back_before_it_started_is_a_message_too(world: FollowedWorld) -> None:
    """Then neither its status nor its attempt changes."""
    world.happens(world.queued(), claim, interrupt)
    message = message_of(world.stream[-1])
    assert isinstance(message, StateChanged)
    assert (message.status, message.event) == ("queued", "interrupted")


def test_progress_names_node_and_step(world: FollowedWorld) -> None:
    world.happens(world.queued(), claim, start, at(0.5))
    message = message_of(world.stream[-1])
    assert isinstance(message, ProgressMade)
    progress = message.progress
    assert (progress.fraction, progress.step, progress.steps) == (0.5, 1, 2)
    assert progress.node_type == "KSampler"


def test_a_change_that_clients_cannot_see_has_no_message() -> None:
    job = running(a_job())
    watched = advance(job, ev.Watched(until=NOW), NOW)
    assert message_of(Change(job, watched)) is None


@given(JOBS, st.integers(0, 12))
def test_missed_states_and_the_snapshot_come_in_order_and_once(job: Job, after: int) -> None:
    versions = [m.version for m in (*missed_states(job, after), state_of(job, is_snapshot=True))]
    assert versions == sorted(set(versions))
    assert versions[-1] == job.version
    assert {entry.version for entry in job.history if entry.version > after} <= set(versions)


@given(ENDED, st.integers(0, 20))
def test_the_files_come_in_order_before_the_end(job: Job, count: int) -> None:
    record = record_of(job, count)
    *files, end = ending_of(record, unannounced(record, 0), record.artifacts)
    assert isinstance(end, JobEnded)
    assert end.record == record
    assert [f.number for f in files if isinstance(f, FileStored)] == list(range(count))
    assert all(order_of(first) < order_of(second) for first, second in pairwise([*files, end]))


@given(ENDED, st.integers(0, 20), st.integers(0, 20))
def test_announced_files_are_not_repeated_at_the_end(job: Job, count: int, known: int) -> None:
    record = record_of(job, count)
    *files, end = ending_of(record, range(count), record.artifacts)
    assert ending_of(record, unannounced(record, known), record.artifacts[known:]) == [
        *files[known:],
        end,
    ]


@pytest.mark.parametrize("announced", [0, 150, 9_950, 10_000])
def test_the_end_announces_a_bounded_number_of_files(announced: int) -> None:
    record = replace(record_of(succeeded(a_job()), 100), artifacts_total=10_000)
    numbers = unannounced(record, announced)
    assert numbers == range(announced, min(announced + MAX_FILES_AT_ONCE, 10_000))
    *_, end = ending_of(record, numbers, record.artifacts)
    assert order_of(end) == (record.job.version, 10_001)


def record_of(job: Job, count: int) -> JobRecord:
    files = [replace(an_artifact(job, n), name=f"{n}.png") for n in range(count)]
    return a_record(job, *files)
