"""A fetch that was ended goes on where it ended, unless something has changed meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.errors import Unavailable
from gpu_worker.models import download, folder
from gpu_worker.models.download import ModelsUnusable, Pace
from gpu_worker.models.folder import ModelFolder
from tests.unit.worker.model_files import (
    BODY,
    PART,
    PARTS,
    CountingStore,
    a_model,
    files,
    fill,
)


async def test_complete_parts_are_not_fetched_again(tmp_path: Path) -> None:
    whole = CountingStore(a_model())
    whole.breaks = 10**9  # each read brings one chunk, so that a part needs two
    folder_ = ModelFolder(
        whole, tmp_path, InMemoryMetrics(), Pace(part_bytes=PART, pause_seconds=0.0), connections=1
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "TRIES", 2)  # enough for 2 chunks of a part, not for the rest
        patch.setattr(whole, "_breaking", _until_third_part(whole))
        with pytest.raises(ModelsUnusable):
            await folder_.fill([a_model()], asyncio.Event())
    assert files(tmp_path) == set()
    again = CountingStore(a_model())
    assert await fill(again, tmp_path, a_model())
    assert sorted(at for _, at in again.reads) == [2 * PART, 3 * PART]
    assert (tmp_path / a_model().path).read_bytes() == BODY


def _until_third_part(store: CountingStore) -> Any:
    def breaking(chunks: Iterator[bytes]) -> Iterator[bytes]:
        if store.reads[-1][1] >= 2 * PART:
            raise Unavailable("reset")
        yield from chunks

    return breaking


@pytest.fixture
async def half(tmp_path: Path) -> Path:
    """A folder in which the first two parts of the model are complete."""
    path = tmp_path / a_model().path
    path.parent.mkdir(parents=True)
    part, journal = download.unfinished(path), download.journal_of(path)
    part.write_bytes(BODY[: 2 * PART].ljust(len(BODY), b"\0"))
    version = hashlib.sha256(BODY).hexdigest()  # as the store in memory makes it
    journal.write_text(f"{a_model().sha256} {len(BODY)} {PART} {version}\n1\n0\n")
    return tmp_path


async def test_a_file_goes_on_where_another_process_ended(half: Path) -> None:
    store = CountingStore(a_model())
    assert await fill(store, half, a_model())
    assert sorted(at for _, at in store.reads) == [2 * PART, 3 * PART]
    assert (half / a_model().path).read_bytes() == BODY


@pytest.mark.parametrize("text", ["", "nonsense", "1\n0\n", "a b c d\nx\n", "\x00\xff"])
async def test_a_journal_that_cannot_be_read_counts_for_nothing(half: Path, text: str) -> None:
    download.journal_of(half / a_model().path).write_text(text)
    store = CountingStore(a_model())
    assert await fill(store, half, a_model())
    assert len(store.reads) == PARTS


async def test_a_journal_without_its_file_counts_for_nothing(half: Path) -> None:
    download.unfinished(half / a_model().path).unlink()
    store = CountingStore(a_model())
    assert await fill(store, half, a_model())
    assert len(store.reads) == PARTS


async def test_another_part_size_begins_again(half: Path) -> None:
    store = CountingStore(a_model())
    pace = Pace(part_bytes=PART // 2, pause_seconds=0.001)
    folder_ = ModelFolder(store, half, InMemoryMetrics(), pace)
    assert await folder_.fill([a_model()], asyncio.Event())
    assert len(store.reads) == 2 * PARTS - 1


async def test_parts_that_a_crash_has_damaged_are_fetched_again(half: Path) -> None:
    with download.unfinished(half / a_model().path).open("r+b") as file:
        file.write(b"\0" * 100)
    store = CountingStore(a_model())
    assert await fill(store, half, a_model())
    assert len(store.reads) == 2 + PARTS
    assert (half / a_model().path).read_bytes() == BODY


async def test_a_file_that_was_replaced_meanwhile_begins_again(half: Path) -> None:
    journal = download.journal_of(half / a_model().path)
    journal.write_text(f"{a_model().sha256} {len(BODY)} {PART} older\n1\n0\n")
    store = CountingStore(a_model())
    assert await fill(store, half, a_model())
    assert (half / a_model().path).read_bytes() == BODY


async def test_the_place_of_an_unfinished_file_is_not_needed_twice(
    half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with download.unfinished(half / a_model().path).open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, len(BODY))
    usage = shutil.disk_usage(half)._replace(free=0)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _path: usage)
    assert await fill(CountingStore(a_model()), half, a_model())
