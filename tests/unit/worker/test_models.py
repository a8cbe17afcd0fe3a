"""The models folder: each model is complete and correct, or not there at all."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from comfyline.adapters.memory.files import MODEL_CHUNK, InMemoryModelStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.errors import Unavailable
from comfyline.service.files.models import ModelPart
from comfyline.service.graphs.lock import Model
from comfyline.service.metrics import Metric
from gpu_worker.models import download, folder
from gpu_worker.models.download import TRIES, ModelsUnusable, Pace
from gpu_worker.models.folder import ModelFolder
from tests.support.eventually import WITHIN, eventually
from tests.unit.worker.model_files import (
    BODY,
    PART,
    PARTS,
    CountingStore,
    a_folder,
    a_model,
    files,
    fill,
    hidden,
)


async def test_every_model_is_stored_at_its_path(tmp_path: Path) -> None:
    wanted = [a_model(str(n)) for n in range(9)]
    store = CountingStore(*wanted)
    assert await fill(store, tmp_path / "models", *wanted)
    for model in wanted:
        assert (tmp_path / "models" / model.path).read_bytes() == BODY
    starts = range(0, len(BODY), PART)
    assert sorted(store.reads) == [(model.key, at) for model in wanted for at in starts]
    assert not [name for name in hidden(tmp_path) if name.endswith((".part", ".parts"))]


async def test_a_checked_model_is_neither_fetched_nor_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CountingStore(a_model())
    await fill(store, tmp_path, a_model())
    monkeypatch.delattr(folder.hashlib, "file_digest")
    assert await fill(store, tmp_path, a_model())
    assert len(store.reads) == PARTS


async def test_a_model_of_the_image_is_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / a_model().path
    path.parent.mkdir()
    path.write_bytes(BODY)
    store = CountingStore()
    assert await fill(store, tmp_path, a_model())
    monkeypatch.delattr(folder.hashlib, "file_digest")
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
        (BODY[:-1], "has 6,999 bytes; the lock says 7,000"),
        (BODY[:10], "has (10|at most [0-9,]+) bytes; the lock says 7,000"),
        (b"", "has at most [0-9,]+ bytes; the lock says 7,000"),
        (BODY + b"x", "has 7,001 bytes; the lock says 7,000"),
        (BODY[:-1] + b"x", "has the SHA-256 "),
    ],
)
async def test_a_wrong_download_is_not_kept(tmp_path: Path, body: bytes, message: str) -> None:
    store = CountingStore(a_model(), body=body)
    with pytest.raises(ModelsUnusable, match=f"models/checkpoints/a.safetensors {message}"):
        await fill(store, tmp_path, a_model())
    assert files(tmp_path) == set()
    assert len(store.reads) <= PARTS  # a second try would bring the same file


async def test_a_wrong_hash_leaves_nothing_of_the_file(tmp_path: Path) -> None:
    store = CountingStore(a_model(), body=BODY[::-1])
    with pytest.raises(ModelsUnusable, match="SHA-256"):
        await fill(store, tmp_path, a_model())
    assert hidden(tmp_path) == set()


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
    assert PARTS < len(store.reads) <= PARTS + TRIES - 1
    assert (tmp_path / a_model().path).read_bytes() == BODY


async def test_an_unreachable_store_is_given_up(tmp_path: Path) -> None:
    class Down(CountingStore):
        def open(self, *_part: Any) -> AbstractContextManager[ModelPart]:
            raise Unavailable("reset")

    store = Down(a_model())
    with pytest.raises(ModelsUnusable, match=f"a.safetensors: reset, {TRIES} times"):
        await fill(store, tmp_path, a_model())
    assert files(tmp_path) == set()


async def test_unfinished_files_of_another_lock_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "loras" / ".old.safetensors.part"
    left.parent.mkdir()
    left.write_bytes(b"half")
    left.with_suffix(".parts").touch()
    assert await fill(CountingStore(a_model()), tmp_path, a_model())
    assert not list(tmp_path.rglob(".old*"))


async def test_models_that_do_not_fit_are_not_fetched(tmp_path: Path) -> None:
    store = CountingStore(a_model())
    huge = a_model().model_copy(update={"bytes": 10**18})
    with pytest.raises(ModelsUnusable, match="do not fit"):
        await fill(store, tmp_path, huge)
    assert store.reads == []


class EndlessStore(InMemoryModelStore):
    """A download without an end."""

    chunks = 0

    def open(self, *_part: Any) -> AbstractContextManager[ModelPart]:
        return nullcontext(ModelPart("1", 10**7, self._endless()))

    def _endless(self) -> Iterator[bytes]:
        while True:
            self.chunks += 1
            is_empty = self.chunks > 9  # or the files would be complete soon
            time.sleep(0.001)
            yield b"" if is_empty else b"\0" * MODEL_CHUNK


async def test_a_drain_ends_the_fetching(tmp_path: Path) -> None:
    store, drain = EndlessStore(), asyncio.Event()
    model = a_model().model_copy(update={"bytes": 10**7})
    filling = asyncio.create_task(a_folder(store, tmp_path).fill([model], drain))
    await eventually(lambda: store.chunks > 2)
    drain.set()
    assert await asyncio.wait_for(filling, WITHIN) is False
    assert files(tmp_path) == set()


async def test_a_failure_ends_the_other_fetches(tmp_path: Path) -> None:
    class OneMissing(EndlessStore):
        def open(self, key: str, *part: Any) -> AbstractContextManager[ModelPart]:
            is_there = "none" not in key
            return (
                super().open(key, *part) if is_there else InMemoryModelStore.open(self, key, *part)
            )

    large = a_model("large").model_copy(update={"bytes": 10**7})
    with pytest.raises(ModelsUnusable, match="none"):
        await asyncio.wait_for(fill(OneMissing(), tmp_path, a_model("none"), large), WITHIN)


async def test_workers_that_share_a_folder_fetch_once(tmp_path: Path) -> None:
    wanted = [a_model(str(n)) for n in range(3)]
    store = CountingStore(*wanted)
    done = await asyncio.gather(*(fill(store, tmp_path, *wanted) for _ in range(4)))
    assert done == [True] * 4
    assert len(store.reads) == len(wanted) * PARTS


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


# --- disk -----------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "pwrite", full)
    with pytest.raises(ModelsUnusable, match=r"models cannot be written: .*No space left"):
        await fill(CountingStore(a_model()), tmp_path, a_model())
    assert files(tmp_path) == set()
    assert hidden(tmp_path) == set()


async def test_a_model_counts_as_checked_after_a_restart_only_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash of the machine, a file that was never flushed may hold anything."""
    monkeypatch.setattr(ModelFolder, "flush", lambda _self: None)
    await fill(CountingStore(a_model()), tmp_path, a_model())
    path = tmp_path / a_model().path
    before = path.stat()
    path.write_bytes(bytes(len(BODY)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    boot = tmp_path / "boot"
    boot.write_text("another boot\n")
    monkeypatch.setattr(folder, "_BOOT_ID", boot)
    store = CountingStore(a_model())
    assert await fill(store, tmp_path, a_model())
    assert path.read_bytes() == BODY


async def test_a_flushed_model_is_not_hashed_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = a_folder(CountingStore(a_model()), tmp_path)
    await models.fill([a_model()], asyncio.Event())
    models.flush()
    mark = tmp_path / "checkpoints" / ".a.safetensors.checked"
    await eventually(lambda: mark.read_text().count("\n") == 1)
    (tmp_path / "boot").write_text("another boot\n")
    monkeypatch.setattr(folder, "_BOOT_ID", tmp_path / "boot")
    monkeypatch.delattr(folder.hashlib, "file_digest")
    assert await fill(CountingStore(), tmp_path, a_model())


# --- what is told ---------------------------------------------------------------------------------


async def test_each_model_is_announced_once_it_can_be_loaded(tmp_path: Path) -> None:
    wanted = [a_model(str(n)) for n in range(5)]
    store = CountingStore(*wanted)
    await fill(store, tmp_path, wanted[3])
    announced: list[tuple[str, bool]] = []

    def ready(model: Model) -> None:
        announced.append((model.path, (tmp_path / model.path).read_bytes() == BODY))

    await a_folder(store, tmp_path).fill(wanted, asyncio.Event(), ready)
    assert announced[0] == (wanted[3].path, True)
    assert sorted(announced) == [(model.path, True) for model in wanted]


async def test_what_was_fetched_is_measured(tmp_path: Path) -> None:
    metrics = InMemoryMetrics()
    pace = Pace(part_bytes=PART, pause_seconds=0.001)
    models = ModelFolder(CountingStore(a_model()), tmp_path, metrics, pace)
    await models.fill([a_model()], asyncio.Event())
    assert metrics.sum(Metric.MODELS_FETCHED) == len(BODY)
    assert [m for m, _, _ in metrics.recorded].count(Metric.MODELS_TIME) == 1


async def test_a_long_download_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(folder, "PROGRESS_SECONDS", 0.01)
    store, drain = EndlessStore(), asyncio.Event()
    model = a_model().model_copy(update={"bytes": 10**7})
    caplog.set_level("INFO")
    filling = asyncio.create_task(a_folder(store, tmp_path).fill([model], drain))

    def told() -> list[Any]:
        lines = [r for r in caplog.records if getattr(r, "action", "") == "models_progress"]
        return [line for line in lines if line.bytes > 0]

    (line, *_) = await eventually(told)
    drain.set()
    await filling
    assert line.of_bytes == 10**7
