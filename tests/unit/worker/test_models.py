"""The models folder: each model is complete and correct, or not there at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfyline.adapters.memory.files import MODEL_CHUNK, InMemoryModelStore
from comfyline.service.errors import Unavailable
from comfyline.service.graphs.lock import Model
from gpu_worker import models as module
from gpu_worker.models import TRIES, ModelFolder, ModelsUnusable
from tests.support.eventually import eventually

BODY = b"weights" * 1000
PAUSE = 0.001


def a_model(name: str = "a", body: bytes = BODY) -> Model:
    return Model(
        path=f"checkpoints/{name}.safetensors",
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
    )


class CountingStore(InMemoryModelStore):
    """Records reads. The first `breaks` of them fail after one chunk."""

    def __init__(self, *models: Model, body: bytes = BODY, breaks: int = 0) -> None:
        super().__init__()
        self.files = {model.key: body for model in models}
        self.reads: list[str] = []
        self.breaks = breaks

    def read(self, key: str) -> Iterator[bytes]:
        self.reads.append(key)
        chunks = super().read(key)
        yield next(chunks)
        if self.breaks:
            self.breaks -= 1
            raise Unavailable("reset")
        yield from chunks


async def fill(store: InMemoryModelStore, root: Path, *models: Model) -> bool:
    return await ModelFolder(store, root, PAUSE).fill(models, asyncio.Event())


def files(root: Path) -> set[str]:
    """The files that an engine would see."""
    return {p.name for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")}


async def test_every_model_is_stored_at_its_path(tmp_path: Path) -> None:
    wanted = [a_model(str(n)) for n in range(9)]
    store = CountingStore(*wanted)
    assert await fill(store, tmp_path / "models", *wanted)
    for model in wanted:
        assert (tmp_path / "models" / model.path).read_bytes() == BODY
    assert sorted(store.reads) == sorted(model.key for model in wanted)
    assert not list(tmp_path.rglob(".*.part"))


async def test_a_checked_model_is_neither_fetched_nor_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CountingStore(a_model())
    await fill(store, tmp_path, a_model())
    monkeypatch.delattr(module.hashlib, "file_digest")
    assert await fill(store, tmp_path, a_model())
    assert len(store.reads) == 1


async def test_a_model_of_the_image_is_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / a_model().path
    path.parent.mkdir()
    path.write_bytes(BODY)
    store = CountingStore()
    assert await fill(store, tmp_path, a_model())
    monkeypatch.delattr(module.hashlib, "file_digest")
    assert await fill(store, tmp_path, a_model())
    assert store.reads == []


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY[:-1] + b"x", BODY + b"x"])
async def test_a_wrong_file_is_replaced(tmp_path: Path, body: bytes) -> None:
    await fill(CountingStore(a_model()), tmp_path, a_model())
    path = tmp_path / a_model().path
    path.write_bytes(body)
    os.utime(path, ns=(1, 1))
    assert await fill(CountingStore(a_model()), tmp_path, a_model())
    assert path.read_bytes() == BODY


async def test_another_model_of_the_same_name_replaces_the_old(tmp_path: Path) -> None:
    other = BODY[::-1]
    await fill(CountingStore(a_model()), tmp_path, a_model())
    await fill(CountingStore(a_model(), body=other), tmp_path, a_model(body=other))
    assert (tmp_path / a_model().path).read_bytes() == other


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BODY[:-1], "has 6,999 bytes with the SHA-256 "),
        (BODY[:-1] + b"x", "has 7,000 bytes with the SHA-256 "),
        (BODY + b"x", "has more than 7,000 bytes"),
    ],
)
async def test_a_wrong_download_is_not_kept(tmp_path: Path, body: bytes, message: str) -> None:
    store = CountingStore(a_model(), body=body)
    with pytest.raises(ModelsUnusable, match=f"models/checkpoints/a.safetensors {message}"):
        await fill(store, tmp_path, a_model())
    assert files(tmp_path) == set()
    assert len(store.reads) == 1  # a second try would bring the same file


async def test_a_wrong_download_leaves_the_old_file(tmp_path: Path) -> None:
    await fill(CountingStore(a_model()), tmp_path, a_model())
    with pytest.raises(ModelsUnusable):
        await fill(CountingStore(a_model(), body=b"x"), tmp_path, a_model(body=b"y"))
    assert (tmp_path / a_model().path).read_bytes() == BODY


async def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelsUnusable, match=r"a\.safetensors is missing, or may not be read"):
        await fill(InMemoryModelStore(), tmp_path, a_model())


async def test_a_broken_connection_is_tried_again(tmp_path: Path) -> None:
    store = CountingStore(a_model(), breaks=TRIES - 1)
    assert await fill(store, tmp_path, a_model())
    assert len(store.reads) == TRIES
    assert (tmp_path / a_model().path).read_bytes() == BODY


async def test_an_unreachable_store_is_given_up(tmp_path: Path) -> None:
    store = CountingStore(a_model(), breaks=TRIES)
    with pytest.raises(ModelsUnusable, match="reset"):
        await fill(store, tmp_path, a_model())
    assert files(tmp_path) == set()


async def test_unfinished_files_of_a_killed_worker_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "loras" / ".old.safetensors.part"
    left.parent.mkdir()
    left.write_bytes(b"half")
    assert await fill(CountingStore(a_model()), tmp_path, a_model())
    assert not left.exists()


async def test_models_that_do_not_fit_are_not_fetched(tmp_path: Path) -> None:
    store = CountingStore(a_model())
    huge = a_model().model_copy(update={"bytes": 10**18})
    with pytest.raises(ModelsUnusable, match="do not fit"):
        await fill(store, tmp_path, huge)
    assert store.reads == []


class EndlessStore(InMemoryModelStore):
    """A download without an end."""

    chunks = 0

    def read(self, key: str) -> Iterator[bytes]:
        while True:
            self.chunks += 1
            yield b"\0" * MODEL_CHUNK


async def test_a_drain_ends_the_fetching(tmp_path: Path) -> None:
    store, drain = EndlessStore(), asyncio.Event()
    model = a_model().model_copy(update={"bytes": 10**9})
    filling = asyncio.create_task(ModelFolder(store, tmp_path, PAUSE).fill([model], drain))
    await eventually(lambda: store.chunks > 2)
    drain.set()
    assert await asyncio.wait_for(filling, 5) is False
    assert files(tmp_path) == set()


async def test_a_failure_ends_the_other_fetches(tmp_path: Path) -> None:
    class OneMissing(EndlessStore):
        def read(self, key: str) -> Iterator[bytes]:
            return InMemoryModelStore.read(self, key) if "none" in key else super().read(key)

    large = a_model("large").model_copy(update={"bytes": 10**9})
    with pytest.raises(ModelsUnusable, match="none"):
        await asyncio.wait_for(fill(OneMissing(), tmp_path, large, a_model("none")), 10)


async def test_workers_that_share_a_folder_fetch_once(tmp_path: Path) -> None:
    wanted = [a_model(str(n)) for n in range(3)]
    store = CountingStore(*wanted)
    done = await asyncio.gather(*(fill(store, tmp_path, *wanted) for _ in range(4)))
    assert done == [True] * 4
    assert len(store.reads) == len(wanted)


async def test_models_of_another_lock_are_removed(tmp_path: Path) -> None:
    """Workers of two deployments may use one folder, one after the other."""
    before, now = a_model("before"), a_model("now")
    store = CountingStore(before, now)
    assert await fill(store, tmp_path, before)
    assert await fill(store, tmp_path, now)
    assert files(tmp_path) == {"now.safetensors"}
    assert not [p for p in tmp_path.rglob(".*") if "before" in p.name]


async def test_files_that_no_worker_fetched_are_kept(tmp_path: Path) -> None:
    model = a_model("own")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / model.path).write_bytes(BODY)  # the lock lists it, and no fetch was needed
    (tmp_path / "checkpoints" / "unlisted.safetensors").touch()
    assert await fill(CountingStore(), tmp_path, model)
    assert await fill(CountingStore(), tmp_path)
    assert files(tmp_path) == {"own.safetensors", "unlisted.safetensors"}
