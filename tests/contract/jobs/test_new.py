"""How every JobStore stores a new job and its request."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from comfyline.contract.ids import random_job_id
from comfyline.service.errors import RequestTooLarge
from comfyline.service.jobs.job import JobOptions, JobParams, JobRecord
from comfyline.service.jobs.store import JobStore, Work
from tests.contract.jobs.stored import (
    LATER,
    NOISE,
    SECOND,
    expired_and_posted_again,
    refused,
)
from tests.support.builders import NOW, a_graph, a_job, canceled, settled, some_params


class TestAdd:
    def test_a_new_job_is_added(self, job_store: JobStore) -> None:
        job = a_job()
        assert job_store.add(job) is None
        assert job_store.get(job.id) == job

    def test_adding_a_taken_id_returns_the_job_that_has_it(self, job_store: JobStore) -> None:
        first = a_job()
        second = a_job(id=first.id, owner=first.owner, queued_at=LATER)
        job_store.add(first)
        assert job_store.add(second) == first
        assert job_store.get(first.id) == first

    def test_adding_the_same_job_twice_succeeds(self, job_store: JobStore) -> None:
        job = a_job()
        assert [job_store.add(job), job_store.add(job)] == [None, None]

    def test_a_write_that_is_repeated_has_added_the_job_whatever_became_of_it(
        self, job_store: JobStore
    ) -> None:
        """Its answer was lost, and another process has changed the row meanwhile."""
        job = a_job(call_id="a")
        job_store.add(job)
        job_store.save(job, canceled(job))
        assert job_store.add(job) is None
        assert job_store.get(job.id) == canceled(job)
        another = replace(job, call_id="b")
        assert job_store.add(another) == canceled(job)

    def test_an_unknown_job_is_none(self, job_store: JobStore) -> None:
        unknown = random_job_id(NOW)
        assert job_store.get(unknown) is None
        assert job_store.read(unknown) is None


class TestRequest:
    def test_the_parameters_are_read_with_the_job(self, job_store: JobStore) -> None:
        job = a_job()
        params = JobParams(
            params={"prompt": "Füchse 🦊\x00", "deep": {"a": [1, 2.5, None, True, {"b": ""}]}},
            metadata={"a": "ü"},
        )
        job_store.put_request(job, params, a_graph())
        job_store.add(job)
        assert job_store.read(job.id) == JobRecord(job, params)

    @pytest.mark.parametrize("prompt", ["a red fox", NOISE])
    def test_parameters_and_graph_are_read_whatever_the_size_of_the_graph(
        self, job_store: JobStore, prompt: str
    ) -> None:
        job, params, graph = a_job(), some_params(prompt=prompt), a_graph(prompt)
        job_store.put_request(job, params, graph)
        job_store.add(job)
        assert job_store.read(job.id) == JobRecord(job, params)
        assert job_store.page(job.owner, status=None, limit=1, after=None) == [
            JobRecord(job, params)
        ]
        assert job_store.graph(job) == graph

    @pytest.mark.parametrize("prompts", [("a red fox", NOISE), (NOISE, "a red fox")])
    def test_a_replay_that_compiles_to_another_graph_leaves_a_complete_request(
        self, job_store: JobStore, prompts: tuple[str, str]
    ) -> None:
        job = a_job()
        for prompt in prompts:
            job_store.put_request(job, some_params(prompt=prompt), a_graph(prompt))
        job_store.add(job)
        assert job_store.graph(job) in [a_graph(prompt) for prompt in prompts]
        job_store.delete(job)
        with pytest.raises(LookupError):
            job_store.graph(job)

    def test_the_graph_is_read_as_it_was_stored(self, job_store: JobStore) -> None:
        job = a_job()
        unusual = {"class_type": "X", "inputs": {"y": [1e-9, -0.5, None], "z": {"": "🦊"}}}
        graph = {**a_graph("ein Füchslein"), "9": unusual}
        job_store.put_request(job, some_params(), graph)
        job_store.add(job)
        assert job_store.graph(job) == graph

    @pytest.mark.parametrize("size", ["small", "large"])
    def test_the_graph_keeps_the_order_of_its_names_and_what_only_python_reads(
        self, job_store: JobStore, size: str
    ) -> None:
        job = a_job()
        images = {f"image{n}": ["1", n] for n in (10, 2, 1)}
        graph: dict[str, Any] = {
            "2": {"class_type": "Batch", "inputs": images, "is_changed": [math.nan, -math.inf]},
            "10": {"class_type": "X", "inputs": {"text": "cut \ud83d", "\udc00": 1}},
            "1": {"class_type": "Y", "inputs": {"x": NOISE if size == "large" else ""}},
        }
        job_store.put_request(job, some_params(), graph)
        assert repr(job_store.graph(job)) == repr(graph)

    def test_what_goes_into_pictures_is_read_by_the_worker_only(self, job_store: JobStore) -> None:
        job = a_job(options=JobOptions(has_pnginfo=True))
        pnginfo = {"workflow": {"nodes": [], "x": NOISE}, "cut": ["\ud83d"]}
        job_store.put_request(job, some_params(), a_graph(), pnginfo)
        job_store.add(job)
        assert job_store.extra_pnginfo(job) == pnginfo
        assert job_store.graph(job) == a_graph()
        assert job_store.read(job.id) == JobRecord(job, some_params())
        ended = settled(canceled(job))
        job_store.save(job, ended)
        job_store.delete(ended)
        with pytest.raises(LookupError):
            job_store.extra_pnginfo(job)

    def test_a_job_without_it_has_nothing(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(job, some_params(), a_graph())
        assert job_store.extra_pnginfo(job) == {}

    def test_too_much_for_pictures_is_refused(self, job_store: JobStore) -> None:
        noise = {"x": random.Random(7).randbytes(600_000).hex()}
        with pytest.raises(RequestTooLarge):
            job_store.put_request(a_job(), some_params(), a_graph(), noise)

    def test_a_request_without_a_job_is_not_visible(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(job, some_params(), a_graph())
        assert job_store.read(job.id) is None
        assert job_store.get(job.id) is None

    def test_each_job_has_its_own_request(self, job_store: JobStore) -> None:
        job = a_job()
        other = replace(job, fingerprint="f" * 64)
        job_store.put_request(job, some_params(), a_graph())
        job_store.put_request(other, some_params(prompt="a blue fox"), a_graph("a blue fox"))
        job_store.add(job)
        record = job_store.read(job.id)
        assert record is not None
        assert record.params == some_params()
        assert job_store.graph(job) == a_graph()

    def test_a_graph_that_is_too_large_is_refused(self, job_store: JobStore) -> None:
        noise = random.Random(7).randbytes(300_000).hex()  # one byte in two survives compression
        noise += random.Random(8).randbytes(300_000).hex()
        with pytest.raises(RequestTooLarge, match="POST /api/v1/uploads"):
            job_store.put_request(a_job(), some_params(), a_graph(noise))

    def test_a_large_graph_that_compresses_well_is_stored(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(job, some_params(), a_graph("fox " * 500_000))
        assert job_store.graph(job) == a_graph("fox " * 500_000)

    def test_a_missing_graph_is_an_error(self, job_store: JobStore) -> None:
        with pytest.raises(LookupError):
            job_store.graph(a_job())


class TestWork:
    @pytest.mark.parametrize("prompt", ["a red fox", NOISE])
    @pytest.mark.parametrize("pnginfo", [None, {"workflow": {"seed": 2**63}}])
    def test_the_work_is_the_row_with_its_graph(
        self, job_store: JobStore, prompt: str, pnginfo: dict[str, Any] | None
    ) -> None:
        job = a_job(options=JobOptions(has_pnginfo=pnginfo is not None))
        job_store.put_request(job, some_params(), a_graph(prompt), pnginfo)
        job_store.add(job)
        assert job_store.work(job.id) == Work(job, a_graph(prompt), pnginfo or {})

    def test_no_row_is_no_work(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(job, some_params(), a_graph())
        assert job_store.work(job.id) is None

    def test_a_missing_graph_leaves_the_row(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.add(job)
        work = job_store.work(job.id)
        assert work is not None
        assert (work.job, work.graph) == (job, None)

    def test_the_graph_of_another_request_is_not_taken(self, job_store: JobStore) -> None:
        job = a_job()
        job_store.put_request(replace(job, fingerprint="f" * 64), some_params(), a_graph(NOISE))
        job_store.put_request(job, some_params(), a_graph())
        job_store.add(job)
        work = job_store.work(job.id)
        assert work is not None
        assert work.graph == a_graph()


class TestReplace:
    def test_a_record_past_its_retention_is_replaced(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job_store.replace(expired, job)
        job_store.replace(expired, job)  # a retry, because the first answer was lost
        assert job_store.get(job.id) == job

    def test_the_slower_of_two_posts_gets_the_job_of_the_faster(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job_store.replace(expired, job)
        slower = replace(job, queued_at=job.queued_at + SECOND)
        assert refused(job_store.replace, expired, slower) == job
        assert job_store.get(job.id) == job

    def test_a_record_that_was_removed_meanwhile_is_replaced(self, job_store: JobStore) -> None:
        expired, job = expired_and_posted_again(job_store)
        job_store.delete(expired)
        job_store.replace(expired, job)
        assert job_store.get(job.id) == job
