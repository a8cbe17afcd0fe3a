"""How every JobStore keeps a result: of any number of artifacts, and of any kind of content."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import siblings
from comfyline.adapters.aws.jobs.results import ARTIFACTS_PER_PART
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE
from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.bounds import MAX_VALUES_BYTES, bounded
from comfyline.service.jobs.job import Job, JobError, JobRecord
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.result import MAX_WARNING, Artifact, JobResult, ResultWarning
from comfyline.service.jobs.store import JobStore
from gpu_worker.collector import MAX_NAME_LENGTH
from tests.contract.conftest import AwsClient
from tests.contract.jobs.stored import saved
from tests.support.builders import (
    NOW,
    a_job,
    a_result,
    an_artifact,
    claimed,
    running,
    settled,
    some_params,
)

WARNING = ResultWarning(type="file_missing", message="a.png", node_id="7", node_type="SaveImage")
FULL = JobResult(
    values={"7": {"value": [1.5, None]}, "12:3": {"tags": ["हिन्दी"]}},
    values_cut=("7.bg_image",),
    warnings=(WARNING, replace(WARNING, node_id=None)),
    is_partial=True,
    empty_reason="why",
)


def a_running_job(store: JobStore) -> Job:
    job = a_job()
    return saved(store, job, claimed(job), running(job))


def counted(store: JobStore, job: Job, count: int) -> Job:
    return store.save(job, advance(job, ev.Stored(attempt=1, count=count), NOW))


def ended(store: JobStore, job: Job) -> Job:
    return store.save(job, advance(job, ev.Succeeded(attempt=1), NOW))


class TestThumbnails:
    def test_they_are_shown_with_the_ended_job_and_in_its_list(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        job_store.put_result(job, a_result(*files_of(job, 3)))
        done = job_store.save(job, advance(job, ev.Succeeded(attempt=1, stored=3), NOW))
        assert _shown(job_store, done) == [(), ()]
        for numbers in ((1,), (2, 1)):
            job_store.put_thumbnails(done, numbers)
        assert _shown(job_store, done) == [(1, 2), (1, 2)]
        assert job_store.get(done.id) == done  # an ended row changes no more
        assert [r.files_total for r in _records(job_store, done)] == [3, 3]

    def test_those_of_a_job_without_files_and_of_a_removed_one_are_not(
        self, job_store: JobStore
    ) -> None:
        job = a_running_job(job_store)
        job_store.put_result(job, a_result(*files_of(job, 1)))
        job_store.put_thumbnails(job, (0,))
        free = job_store.save(job, advance(job, ev.Interrupted(attempt=1), NOW))
        assert _shown(job_store, free) == [(), ()]

    def test_they_are_removed_with_the_job(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        job_store.put_result(job, a_result(*files_of(job, 1)))
        done = settled(job_store.save(job, advance(job, ev.Succeeded(attempt=1, stored=1), NOW)))
        job_store.put_thumbnails(done, (0,))
        job_store.save(job_store.get(done.id) or done, done)
        job_store.delete(done)
        saved(job_store, a_job(id=done.id, owner=done.owner, queued_at=done.queued_at))
        assert job_store.read(done.id).thumbnails == ()  # type: ignore[union-attr]


def _records(store: JobStore, job: Job) -> list[JobRecord]:
    record = store.read(job.id)
    assert record is not None
    return [record, *store.page(job.owner, status=None, limit=5, after=None)]


def _shown(store: JobStore, job: Job) -> list[tuple[int, ...]]:
    return [record.thumbnails for record in _records(store, job)]


def files_of(job: Job, count: int) -> list[Artifact]:
    return [an_artifact(job, n) for n in range(count)]


class TestResult:
    @pytest.mark.parametrize("result", [JobResult(), FULL])
    @pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
    def test_is_read_as_it_was_stored_with_the_first_artifacts(
        self, job_store: JobStore, result: JobResult, count: int
    ) -> None:
        job = a_running_job(job_store)
        files = tuple(replace(f, temporary=True) for f in files_of(job, count))
        job_store.put_result(job, replace(result, artifacts=files))
        record = job_store.read(ended(job_store, job).id)
        assert record is not None
        assert record.result == replace(result, artifacts=files[:MAX_ARTIFACTS_PER_PAGE])
        assert record.artifacts_total == count

    @pytest.mark.parametrize(
        "numbers",
        [
            range(0),
            range(3, 3),
            range(1),
            range(100),
            range(99, 101),
            range(100, 200),
            range(150, 320),
            range(1050, 9999),
            range(2000, 2100),
        ],
        ids=str,
    )
    def test_any_artifacts_are_found_by_their_numbers(
        self, job_store: JobStore, numbers: range
    ) -> None:
        job = a_running_job(job_store)
        files = files_of(job, 1060)
        job_store.put_result(job, a_result(*files))
        assert job_store.artifacts(job, numbers) == tuple(files[numbers.start : numbers.stop])

    def test_replaces_the_list_of_the_running_attempt(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        job_store.list_stored(job, files_of(job, 250), known=0)
        job = counted(job_store, job, 250)
        job_store.put_result(job, a_result(*files_of(job, 20)))
        record = job_store.read(ended(job_store, job).id)
        assert record is not None
        assert (len(record.artifacts), record.artifacts_total) == (20, 20)

    def test_is_removed_with_the_job(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        job_store.put_result(job, replace(FULL, artifacts=tuple(files_of(job, 450))))
        done = ended(job_store, job)
        gone = job_store.save(done, settled(done))
        job_store.delete(gone)
        assert job_store.artifacts(job, range(450)) == ()
        job_store.put_request(gone, some_params(), {})
        job_store.add(gone)
        record = job_store.read(job.id)
        assert record is not None
        assert (record.result, record.artifacts_total) == (JobResult(), 0)

    def test_of_another_attempt_is_not_found(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        job_store.put_result(job, a_result(*files_of(job, 150)))
        assert job_store.artifacts(replace(job, attempt=2), range(150)) == ()


class TestListOfARunningAttempt:
    def test_grows(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        for known, count in [(0, 1), (1, 99), (99, 100), (100, 101), (101, 340)]:
            job_store.list_stored(job, files_of(job, count), known=known)
            job = counted(job_store, job, count)
            record = job_store.read(job.id)
            assert record is not None
            assert record.artifacts == tuple(files_of(job, min(count, 100)))
            assert record.artifacts_total == count
            assert job_store.artifacts(job, range(count)) == tuple(files_of(job, count))

    def test_is_kept_if_the_worker_is_lost_for_good(self, job_store: JobStore) -> None:
        job = a_running_job(job_store)
        job_store.list_stored(job, files_of(job, 120), known=0)
        job = counted(job_store, job, 120)
        failed = ev.FailedForGood(attempt=1, error=JobError(type="boom", message="it broke"))
        job_store.save(job, advance(job, failed, NOW))
        record = job_store.read(job.id)
        assert record is not None
        assert (len(record.artifacts), record.artifacts_total) == (100, 120)

    def test_writes_each_artifact_a_bounded_number_of_times(
        self, aws_client: AwsClient, jobs_table: str
    ) -> None:
        client = aws_client("dynamodb")
        writes = Writes(client)
        store = DynamoJobStore(client, jobs_table)
        job = running(a_job())
        files = files_of(job, 2_000)
        for known in range(0, len(files), 20):
            store.list_stored(job, files[: known + 20], known=known)
        # Every call writes at most one full part, also of the longest list.
        assert len(writes.sizes) == 100
        assert max(writes.artifacts) <= ARTIFACTS_PER_PART


class Writes:
    """The items of results that are put: their sizes as DynamoDB counts them, and their lists."""

    def __init__(self, client: Any) -> None:
        self.sizes: list[int] = []
        self.artifacts: list[int] = []
        client.meta.events.register("provide-client-params.dynamodb.PutItem", self._count)

    def _count(self, params: Mapping[str, Any], **_: Any) -> None:
        item = params["Item"]
        if "body" not in item:  # a row
            return
        self.sizes.append(sum(len(name) + _bytes(value) for name, value in item.items()))
        self.artifacts.append(len(siblings.unpack(item["body"]["B"])))


def _bytes(attribute: Mapping[str, Any]) -> int:
    [value] = attribute.values()
    return len(value if isinstance(value, bytes) else value.encode())


def hostile_files(job: Job, count: int) -> Iterator[Artifact]:
    """Files with the longest names and node ids, which do not compress."""
    noise = random.Random(7)
    letters = [chr(n) for n in range(0x20000, 0x2A000)]  # four bytes each in UTF-8
    for n in range(count):
        name = "".join(noise.choices(letters, k=MAX_NAME_LENGTH))
        node = "".join(noise.choices(letters, k=MAX_NAME))
        yield replace(
            an_artifact(job, n),
            key=artifact_key(job, n, name),
            name=name,
            node=node,
            sha256=noise.randbytes(32).hex(),
        )


def test_no_item_exceeds_400_kb_and_10_000_files_are_listed(
    aws_client: AwsClient, jobs_table: str
) -> None:
    client = aws_client("dynamodb")
    writes = Writes(client)
    store = DynamoJobStore(client, jobs_table)
    job = a_running_job(store)
    noise = "".join(chr(n) for n in random.Random(7).choices(range(0x4E00, 0x9FFF), k=20_000))
    warning = ResultWarning(type=noise[:MAX_NAME], message=noise[:MAX_WARNING], node_id=noise[:99])
    made = JobResult(
        artifacts=tuple(hostile_files(job, 10_000)),
        values={"7": {"text": noise}},
        warnings=tuple(replace(warning, message=noise[n : n + MAX_WARNING]) for n in range(100)),
        is_partial=True,
    )
    result = bounded(made)
    assert (result.artifacts, result.values) == (made.artifacts, made.values)
    assert len(result.warnings) > 10
    store.put_result(job, result)
    assert len(writes.sizes) == 100
    assert max(writes.sizes) < 300 * 1024
    record = store.read(ended(store, job).id)
    assert record is not None
    assert record.artifacts_total == 10_000
    pages = [store.artifacts(job, range(n, n + 100)) for n in range(0, 10_000, 100)]
    assert tuple(file for page in pages for file in page) == result.artifacts


def test_a_part_that_does_not_fit_is_refused(dynamo_job_store: DynamoJobStore) -> None:
    job = a_running_job(dynamo_job_store)
    noise = random.Random(7).randbytes(MAX_VALUES_BYTES * 10).hex()
    with pytest.raises(ValueError, match="an item has"):
        dynamo_job_store.put_result(job, JobResult(values={"7": {"text": noise}}))


def test_a_list_of_older_code_is_read_in_one_piece(dynamo_job_store: DynamoJobStore) -> None:
    """Older code has stored any number of artifacts in the first item, and nothing else."""
    store = dynamo_job_store
    job = a_running_job(store)
    files = files_of(job, 320)
    body = siblings.pack(
        [{k: v for k, v in asdict(file).items() if k != "temporary"} for file in files]
    )
    name = f"job#artifacts#{job.incarnation}-{job.attempt}"
    store._client.put_item(TableName=store._table, Item=siblings.sibling_item(job, name, body))
    record = store.read(ended(store, job).id)
    assert record is not None
    assert (record.result, record.artifacts_total) == (a_result(*files), 320)
    assert store.artifacts(job, range(200, 300)) == tuple(files[200:300])


def test_older_code_reads_the_first_artifacts_of_a_result(dynamo_job_store: DynamoJobStore) -> None:
    """Older code reads one list from the first item, and ignores attributes and fields."""
    store = dynamo_job_store
    job = a_running_job(store)
    store.put_result(job, replace(FULL, artifacts=tuple(files_of(job, 250))))
    name = f"job#artifacts#{job.incarnation}-{job.attempt}"
    item = store._client.get_item(TableName=store._table, Key=siblings.key(job.id, name))["Item"]
    listed = siblings.unpack(item["body"]["B"])
    assert [file["key"] for file in listed] == [file.key for file in files_of(job, 100)]
