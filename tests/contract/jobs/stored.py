"""Jobs in a store, for the contract tests."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import Conflict, JobStore
from tests.support.builders import NOW, a_graph, a_job, canceled, settled, some_params

SECOND = timedelta(seconds=1)
LATER = NOW + timedelta(minutes=1)
NOISE = random.Random(7).randbytes(1_000).hex()  # one byte in two survives compression


def stored(store: JobStore, job: Job) -> Job:
    """Store a new job with its request, as `submit` does; returns the job."""
    store.put_request(job, some_params(), a_graph())
    assert store.add(job) is None
    return job


def saved(store: JobStore, *states: Job) -> Job:
    """Store a new job and then each of its later states; returns the last one."""
    stored(store, states[0])
    for before, after in pairwise(states):
        store.save(before, after)
    return states[-1]


def refused(call: Callable[..., object], *arguments: Any) -> Job | None:
    """Check that the call ends in a conflict; returns the row that the conflict carries."""
    with pytest.raises(Conflict) as conflict:
        call(*arguments)
    return conflict.value.current


def expired_and_posted_again(store: JobStore) -> tuple[Job, Job]:
    """A stored job past its retention, and a new job with the same id that is not stored yet."""
    first = a_job()
    expired = saved(store, first, canceled(first), settled(canceled(first)))
    assert expired.expires_at is not None
    again = a_job(id=first.id, owner=first.owner, queued_at=expired.expires_at)
    return expired, again
