"""Ids: of one shape, one for each meaning, in the order of time where they are random."""

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
def test_every_derived_id_has_the_shape(owner: OwnerId, text: str, n: int) -> None:
    for job_id in (
        derived_job_id(owner, text),
        reused_job_id(owner, text, n),
        retry_job_id(owner, JobId(text), n),
    ):
        assert re.fullmatch(JOB_ID_PATTERN, job_id)


@given(OWNERS, TEXTS, OWNERS, TEXTS)
def test_an_owner_and_a_key_name_one_job(a: OwnerId, key: str, b: OwnerId, other: str) -> None:
    is_same = derived_job_id(a, key) == derived_job_id(b, other)
    assert is_same == ((a, key) == (b, other))


@given(TEXTS, TEXTS)
def test_where_the_owner_ends_and_the_key_begins_is_told(owner: str, key: str) -> None:
    text = owner + key
    ids = {derived_job_id(OwnerId(text[:n]), text[n:]) for n in range(len(text) + 1)}
    assert len(ids) == len(text) + 1


@given(OWNERS, TEXTS, st.integers(0, 9))
def test_a_kind_of_its_own_never_meets_a_callers_key(owner: OwnerId, text: str, n: int) -> None:
    kinds = [
        derived_job_id(owner, f"{n}:{text}"),
        reused_job_id(owner, text, n),
        retry_job_id(owner, JobId(text), n),
    ]
    assert all(one != other for one, other in combinations(kinds, 2))


@given(TIMES, st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=999)))
def test_later_ids_sort_later(now: datetime, span: timedelta) -> None:
    assert random_job_id(now) < random_job_id(now + span)
    assert random_upload_id(now) < random_upload_id(now + span)


@given(TIMES)
def test_random_ids_differ_within_a_moment(now: datetime) -> None:
    ids = [random_job_id(now) for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(re.fullmatch(JOB_ID_PATTERN, one) for one in ids)
    assert re.fullmatch(UPLOAD_ID_PATTERN, random_upload_id(now))
    assert random_worker_id() != random_worker_id()
