"""How every JobStore removes a job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comfyline.service.jobs.job import JobParams, JobRecord
from comfyline.service.jobs.store import JobStore
from tests.contract.jobs.stored import expired_and_posted_again, refused, saved, stored
from tests.support.builders import (
    a_graph,
    a_job,
    a_result,
    an_artifact,
    claimed,
    settled,
    some_params,
    succeeded,
)


class TestDelete:
    def test_the_job_and_its_sibling_items_are_removed(self, job_store: JobStore) -> None:
        job = a_job()
        done = succeeded(job)
        ended = saved(job_store, job, claimed(job), done, settled(done))
        job_store.put_result(ended, a_result(an_artifact(ended)))
        job_store.delete(ended)
        assert job_store.get(job.id) is None
        job_store.add(ended)
        assert job_store.read(job.id) == JobRecord(ended, JobParams(params={}))
        with pytest.raises(LookupError):
            job_store.graph(ended)

    def test_a_job_that_has_changed_stays(self, job_store: JobStore) -> None:
        job = a_job()
        now = saved(job_store, job, claimed(job))
        assert refused(job_store.delete, job) == now
        assert job_store.read(job.id) == JobRecord(now, some_params())

    def test_deleting_twice_succeeds(self, job_store: JobStore) -> None:
        job = stored(job_store, a_job())
        job_store.delete(job)
        job_store.delete(job)
        assert job_store.get(job.id) is None

    def test_the_next_job_of_the_same_id_keeps_its_request(self, job_store: JobStore) -> None:
        # The client posts the same request again while the sweeper removes the first job.
        expired, job = expired_and_posted_again(job_store)
        job_store.put_request(job, some_params(), a_graph())
        job_store.delete(expired)
        job_store.add(job)
        assert job_store.read(job.id) == JobRecord(job, some_params())
        assert job_store.graph(job) == a_graph()

    def test_the_next_job_of_the_same_id_is_not_deleted(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job = replace(job, version=expired.version)
        job_store.replace(expired, job)
        assert refused(job_store.delete, expired) == job
