"""Results are shown in pages, and no response exceeds its bound, however long file names are."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.api.v1.results import artifact_page, result_view
from comfyline.api.v1.views import job_page, job_view
from comfyline.contract.limits import (
    MAX_ARTIFACTS_PER_PAGE,
    MAX_METADATA_BYTES,
    MAX_PROMPT_LENGTH,
    MAX_RESPONSE_BYTES,
)
from comfyline.contract.v1 import responses
from comfyline.contract.v1.results import ArtifactView
from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.artifacts import numbers_of
from comfyline.service.jobs.bounds import bounded
from comfyline.service.jobs.job import MAX_ERROR_MESSAGE, Job, JobError, JobParams, JobRecord
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.result import Artifact, JobResult, ResultWarning
from gpu_worker.collector import MAX_NAME_LENGTH
from tests.support.builders import NOW, a_job, a_record, an_artifact, running, succeeded

STORE = InMemoryArtifactStore()
NOISE = random.Random(7)


def a_signer() -> S3ArtifactStore:
    """Signs as a Lambda function does: with the long token of a session."""
    session = boto3.Session("ASIA" + "A" * 16, "secret", "t" * 1_500, region_name="eu-central-1")
    return S3ArtifactStore(session.client("s3"), "comfyline-artifacts-123456789012")


def worst(number: int, job: Job) -> Artifact:
    """A file with the longest URL that a name can have, made by a node with the longest id."""
    name = "".join(chr(NOISE.randrange(0x20000, 0x2A000)) for _ in range(MAX_NAME_LENGTH))
    key = artifact_key(job, number, name)
    return replace(an_artifact(job, number), key=key, name=name, node="\x00" * MAX_NAME)


def failed(job: Job) -> Job:
    error = JobError(type="boom", message="\x00" * MAX_ERROR_MESSAGE, node_id="\x00" * MAX_NAME)
    job = running(job)
    return advance(job, ev.FailedForGood(attempt=job.attempt, error=error), NOW)


def size(model: Any) -> int:
    return len(model.model_dump_json().encode())


def test_the_largest_job_fits_into_a_response_and_its_files_into_pages() -> None:
    job = failed(a_job())
    files = [worst(n, job) for n in range(300)]
    warning = ResultWarning(type="t" * 999, message="\x00" * 999, node_id="\x00" * 999)
    made = JobResult(
        artifacts=tuple(files[:MAX_ARTIFACTS_PER_PAGE]),
        values={"7": {str(n): "\x00" * 100 for n in range(1_000)}},
        warnings=(warning,) * 1_000,
    )
    params = {"prompt": "\x00" * MAX_PROMPT_LENGTH, "negative_prompt": "\x00" * MAX_PROMPT_LENGTH}
    metadata = {"k": "\x00" * (MAX_METADATA_BYTES // 6)}
    record = JobRecord(job, JobParams(params=params, metadata=metadata), bounded(made), len(files))
    signer = a_signer()
    view = job_view(record, store=signer, now=NOW)
    assert size(view) <= MAX_RESPONSE_BYTES
    assert view.result is not None
    assert (view.result.artifacts_total, view.result.truncated) == (300, True)
    shown, cursor = list(view.result.artifacts), view.result.next_cursor
    while cursor is not None:
        numbers = numbers_of(cursor, MAX_ARTIFACTS_PER_PAGE)
        made_there = files[numbers.start : numbers.stop]
        page = artifact_page(record, numbers, made_there, store=signer, now=NOW)
        assert size(page) <= MAX_RESPONSE_BYTES
        assert page.artifacts
        shown, cursor = [*shown, *page.artifacts], page.next_cursor
    assert [(file.number, file.name) for file in shown] == [
        (number, file.name) for number, file in enumerate(files)
    ]


def test_usual_files_fill_a_page_although_their_urls_hold_a_token() -> None:
    job = succeeded(a_job())
    files = [replace(an_artifact(job, n), name=f"ComfyUI_{n:05}_.png") for n in range(100)]
    view = job_view(a_record(job, *files), store=a_signer(), now=NOW)
    assert view.result is not None
    assert (len(view.result.artifacts), view.result.next_cursor) == (100, None)
    assert all(len(file.url) > 1_500 for file in view.result.artifacts)


def test_a_result_shows_everything_that_the_job_made() -> None:
    job = succeeded(a_job())
    warning = ResultWarning(type="file_missing", message="a.png", node_id="7", node_type="Save")
    made = JobResult(
        artifacts=(replace(an_artifact(job), temporary=True),),
        values={"7": {"tags": ["fox"]}},
        values_cut=("7.bg_image",),
        warnings=(warning,),
        is_partial=True,
        empty_reason="why",
    )
    record = JobRecord(job, JobParams(params={"seed": 42}), made, 1)
    view = job_view(record, store=STORE, now=NOW)
    assert responses.JobView.model_validate_json(view.model_dump_json()) == view
    result = view.result
    assert result is not None
    assert result.values == {"7": {"tags": ["fox"]}}
    assert (result.values_cut, result.partial, result.empty_reason) == (["7.bg_image"], True, "why")
    assert [w.model_dump() for w in result.warnings] == [
        {"type": "file_missing", "message": "a.png", "node_id": "7", "node_type": "Save"}
    ]
    (file,) = result.artifacts
    assert (file.number, file.temporary, file.seed, file.meta) == (0, True, 42, {"attempt": 1})
    assert file.url_expires_at == NOW + timedelta(minutes=15)


def test_a_failed_job_shows_values_and_warnings_without_files() -> None:
    job = failed(a_job())
    record = JobRecord(job, JobParams(params={}), JobResult(values={"7": {"value": [1]}}))
    shown = result_view(record, STORE, NOW)
    assert shown is not None
    assert (shown.values, shown.artifacts) == ({"7": {"value": [1]}}, [])


@pytest.mark.parametrize("count", [0, 1, 99, 100])
def test_a_job_with_few_files_has_one_page(count: int) -> None:
    job = succeeded(a_job())
    record = a_record(job, *(an_artifact(job, n) for n in range(count)))
    shown = result_view(record, STORE, NOW)
    assert shown is not None
    assert (len(shown.artifacts), shown.next_cursor, shown.truncated) == (count, None, False)


def test_every_field_of_an_artifact_is_shown() -> None:
    hidden = {"key"}
    assert set(Artifact.__dataclass_fields__) - hidden <= set(ArtifactView.model_fields)


def test_a_list_of_jobs_with_the_longest_prompts_fits_and_goes_on_from_its_cursor() -> None:
    params = {"prompt": "\x00" * MAX_PROMPT_LENGTH, "negative_prompt": "\x00" * MAX_PROMPT_LENGTH}
    records = [
        JobRecord(a_job(queued_at=NOW - timedelta(seconds=n)), JobParams(params=params))
        for n in range(100)
    ]
    page = job_page(records, "the cursor of the whole page", store=STORE, now=NOW)
    assert size(page) <= MAX_RESPONSE_BYTES
    shown = len(page.jobs)
    assert 1 <= shown < 100
    rest = job_page(records[:shown], None, store=STORE, now=NOW)
    assert (rest.jobs, rest.next_cursor) == (page.jobs, None)
    assert page.next_cursor not in (None, "the cursor of the whole page")
    few = job_page(
        [replace(r, params=JobParams(params={})) for r in records], "kept", store=STORE, now=NOW
    )
    assert (len(few.jobs), few.next_cursor) == (100, "kept")
