"""Ids have one form; a derived id stands for one intent, and random ids sort by time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from comfyline.contract.ids import (
    JOB_ID_PATTERN,
    UPLOAD_ID_PATTERN,
    JobId,
    OwnerId,
    derived_job_id,
    random_job_id,
    random_upload_id,
    random_worker_id,
    retry_job_id,
    reused_job_id,
)

TEXTS = st.text(max_size=40)
OWNERS = TEXTS.map(OwnerId)
TIMES = st.timedeltas(timedelta(0), timedelta(days=50_000)).map(
    lambda age: datetime(2000, 1, 1, tzinfo=UTC) + age
)


@given(OWNERS, TEXTS, st.integers(0, 100))
def test_every_derived_id_has_the_documented_form(owner: OwnerId, text: str, n: int) -> None:
    for job_id in (
        derived_job_id(owner, text),
        reused_job_id(owner, text, n),
        retry_job_id(owner, JobId(text), n),
    ):
        assert re.fullmatch(JOB_ID_PATTERN, job_id)


@given(OWNERS, TEXTS, OWNERS, TEXTS)
def test_two_ids_are_equal_only_for_the_same_owner_and_key(
    a: OwnerId, key: str, b: OwnerId, other: str
) -> None:
    is_same = derived_job_id(a, key) == derived_job_id(b, other)
    assert is_same == ((a, key) == (b, other))


@given(TEXTS, TEXTS)
def test_the_split_between_owner_and_key_changes_the_id(owner: str, key: str) -> None:
    text = owner + key
    ids = {derived_job_id(OwnerId(text[:n]), text[n:]) for n in range(len(text) + 1)}
    assert len(ids) == len(text) + 1


@given(OWNERS, TEXTS, st.integers(0, 9))
def test_ids_of_different_kinds_are_never_equal(owner: OwnerId, text: str, n: int) -> None:
    kinds = [
        derived_job_id(owner, f"{n}:{text}"),
        reused_job_id(owner, text, n),
        retry_job_id(owner, JobId(text), n),
    ]
    assert all(a != b for a, b in combinations(kinds, 2))


@given(TIMES, st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=999)))
def test_later_ids_sort_later(now: datetime, span: timedelta) -> None:
    assert random_job_id(now) < random_job_id(now + span)
    assert random_upload_id(now) < random_upload_id(now + span)


@given(TIMES)
def test_random_ids_of_the_same_moment_differ(now: datetime) -> None:
    ids = [random_job_id(now) for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(re.fullmatch(JOB_ID_PATTERN, job_id) for job_id in ids)
    assert re.fullmatch(UPLOAD_ID_PATTERN, random_upload_id(now))
    assert random_worker_id() != random_worker_id()
