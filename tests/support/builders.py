"""Values for tests. Ids are random, so that tests can share a store without conflicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from comfyline.contract.ids import OwnerId, random_job_id, random_worker_id
from comfyline.service.graphs.graph import Graph, fingerprint
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.job import Job, JobError, JobParams, JobRecord
from comfyline.service.jobs.lifecycle import advance, submitted
from comfyline.service.jobs.result import Artifact, JobResult
from comfyline.service.queue.lanes import Priority

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LEASE = timedelta(seconds=120)

PARAMS: dict[str, Any] = {
    "prompt": "a red fox",
    "negative_prompt": "",
    "width": 512,
    "height": 512,
    "batch_size": 1,
    "seed": 42,
    "steps": 20,
    "cfg_scale": 7.5,
    "sampler": "euler",
    "scheduler": "normal",
}


class FrozenClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, span: timedelta | float) -> datetime:
        """Move the clock forward by a span or by seconds; returns the new time."""
        self.now += span if isinstance(span, timedelta) else timedelta(seconds=span)
        return self.now


def now() -> datetime:
    """The clock for tests that run in real time."""
    return datetime.now(UTC)


def an_owner() -> OwnerId:
    """A new owner, unique to this test."""
    return OwnerId("owner-" + random_job_id(NOW)[-10:])


def a_job(**overrides: Any) -> Job:
    """A new job, ready to be stored: queued at NOW and due 30 s later, unless overridden."""
    queued_at = overrides.get("queued_at", NOW)
    values: dict[str, Any] = {
        "id": random_job_id(queued_at),
        "owner": an_owner(),
        "fingerprint": fingerprint(PARAMS),
        "priority": Priority.NORMAL,
        "queued_at": queued_at,
        "start_deadline": queued_at + timedelta(days=1),
        "execution_timeout": timedelta(minutes=10),
        "retention": timedelta(days=7),
    }
    later = {"history", "due_at"} & overrides.keys()  # `submitted` would overwrite these
    job = submitted(Job(**values | {k: v for k, v in overrides.items() if k not in later}))
    return replace(job, **{name: overrides[name] for name in later})


def claimed(job: Job, *, now: datetime = NOW, lease: timedelta = LEASE) -> Job:
    """The job, claimed by a new worker."""
    event = ev.Claimed(worker_id=random_worker_id(), lease_expires_at=now + lease)
    return advance(job, event, now)


def running(job: Job, *, now: datetime = NOW) -> Job:
    """The job, claimed and started."""
    job = claimed(job, now=now)
    return advance(job, ev.Started(attempt=job.attempt), now)


def succeeded(job: Job, *, now: datetime = NOW) -> Job:
    """The job, claimed, started and succeeded."""
    job = running(job, now=now)
    return advance(job, ev.Succeeded(attempt=job.attempt, gpu_seconds=1.25), now)


def failed(job: Job, error: JobError, *, now: datetime = NOW) -> Job:
    """The job, claimed, started and failed."""
    job = running(job, now=now)
    return advance(job, ev.FailedForGood(attempt=job.attempt, error=error), now)


def canceled(job: Job, *, now: datetime = NOW) -> Job:
    """The job, canceled before a worker claimed it."""
    return advance(job, ev.Canceled(), now)


def settled(job: Job, *, now: datetime = NOW) -> Job:
    """The ended job, settled, so that its record may be removed."""
    return advance(job, ev.Settled(), now)


def some_params(**overrides: Any) -> JobParams:
    """The parameters of a text-to-image request."""
    return JobParams(params=PARAMS | overrides, metadata={"project": "foxes"})


def a_graph(prompt: str = "a red fox") -> Graph:
    """ComfyUI's text-to-image graph."""
    return text_to_image_graph(
        TextToImage(**PARAMS | {"prompt": prompt}, model="model.safetensors")
    )


def an_artifact(job: Job, n: int = 0) -> Artifact:
    """An image of the job's attempt."""
    return Artifact(
        key=artifact_key(job, n, "image.png"),
        name=f"image_{n:05}_.png",
        kind="image",
        content_type="image/png",
        bytes=1234,
        sha256="0" * 64,
        node="7",
    )


def a_result(*artifacts: Artifact) -> JobResult:
    """A result that has only files."""
    return JobResult(artifacts=artifacts)


def a_record(job: Job, *artifacts: Artifact) -> JobRecord:
    """The record of a text-to-image job with these files."""
    return JobRecord(job, some_params(), a_result(*artifacts), len(artifacts))
