"""Previews: only the newest, only while the job is watched, and never at a cost to the job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import IO

import pytest

from comfyline.adapters.memory.files import InMemoryArtifactStore, StoredFile
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.artifact_keys import preview_key
from comfyline.service.jobs.job import Job, JobOptions
from gpu_worker import previews as module
from gpu_worker.comfy.protocol import PromptPreviewed
from gpu_worker.previews import Previews
from gpu_worker.racing import background
from tests.support.builders import a_job, claimed
from tests.support.eventually import WITHIN, eventually


class Store(InMemoryArtifactStore):
    """Records each put, waits for `gate`, and fails the next `failures` puts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.begun: list[bytes] = []
        self.failures = 0

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        self.begun.append(body.read())
        body.seek(0)
        assert self.gate.wait(WITHIN)
        if self.failures:
            self.failures -= 1
            raise Unavailable("slow down")
        super().put(key, body, content_type)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def job() -> Job:
    return claimed(a_job(options=JobOptions(wants_previews=True)))


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no pause between two previews."""
    monkeypatch.setattr(module, "INTERVAL", timedelta(0))


def previews(
    job: Job, store: Store, counts: list[int], is_watched: Callable[[], bool] = lambda: True
) -> Previews:
    return Previews(job, store, is_watched=is_watched, stored=counts.append)


def a_preview(picture: bytes) -> PromptPreviewed:
    return PromptPreviewed("image/jpeg", picture)


@pytest.mark.usefixtures("no_pause")
async def test_each_preview_replaces_the_last_and_is_counted(store: Store, job: Job) -> None:
    counts: list[int] = []
    made = previews(job, store, counts)
    async with background(made.store_for_ever()):
        for number, picture in enumerate((b"one", b"two"), start=1):
            made.offer(a_preview(picture))
            await eventually(lambda number=number: counts[-1:] == [number])
    assert store.files == {preview_key(job): StoredFile(b"two", "image/jpeg")}


async def test_a_preview_that_comes_too_soon_is_replaced_by_a_newer_one(
    store: Store, job: Job
) -> None:
    pauses: list[float] = []
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await go_on.wait()
        go_on.clear()

    counts: list[int] = []
    made = Previews(job, store, is_watched=lambda: True, stored=counts.append, sleep=sleep)
    async with background(made.store_for_ever()):
        made.offer(a_preview(b"one"))
        await eventually(lambda: pauses == [2.0])
        for picture in (b"two", b"three", b"four"):
            made.offer(a_preview(picture))
        assert (counts, store.begun) == ([1], [b"one"])
        go_on.set()
        await eventually(lambda: pauses == [2.0, 2.0])
    assert (counts, store.begun) == ([1, 2], [b"one", b"four"])


@pytest.mark.usefixtures("no_pause")
async def test_no_preview_is_stored_while_the_job_is_not_watched(store: Store, job: Job) -> None:
    watched: list[bool] = []
    counts: list[int] = []
    made = previews(job, store, counts, lambda: bool(watched))
    async with background(made.store_for_ever()):
        made.offer(a_preview(b"one"))
        watched.append(True)
        made.offer(a_preview(b"two"))
        await eventually(lambda: counts == [1])
    assert store.begun == [b"two"]


@pytest.mark.usefixtures("no_pause")
async def test_a_preview_that_cannot_be_stored_is_left_out(store: Store, job: Job) -> None:
    store.failures = 1
    counts: list[int] = []
    made = previews(job, store, counts)
    async with background(made.store_for_ever()):
        made.offer(a_preview(b"one"))
        await eventually(lambda: store.failures == 0)
        made.offer(a_preview(b"two"))
        await eventually(lambda: counts == [1])
    assert store.files[preview_key(job)].body == b"two"


@pytest.mark.usefixtures("no_pause")
async def test_the_end_waits_for_an_upload_and_accepts_no_more(store: Store, job: Job) -> None:
    store.gate.clear()
    made = previews(job, store, [])
    async with background(made.store_for_ever()):
        made.offer(a_preview(b"one"))
        await eventually(lambda: store.begun)
        made.offer(a_preview(b"two"))
        ending = asyncio.create_task(made.end())
        await asyncio.wait({ending}, timeout=0.05)
        assert not ending.done()
        store.gate.set()
        await ending
        assert store.files[preview_key(job)].body == b"one"
        made.offer(a_preview(b"three"))
        await asyncio.sleep(0.01)
    assert store.begun == [b"one"]


@pytest.mark.usefixtures("no_pause")
async def test_the_end_does_not_wait_for_ever(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)
    store.gate.clear()
    made = previews(job, store, [])
    async with background(made.store_for_ever()):
        made.offer(a_preview(b"one"))
        await eventually(lambda: store.begun)
        await asyncio.wait_for(made.end(), WITHIN)
        assert store.files == {}
        store.gate.set()
