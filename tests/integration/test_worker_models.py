"""Models over HTTP, from a server with faults, and by processes that are killed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.graphs.lock import Model
from gpu_worker.models.download import ModelsUnusable, Pace, journal_of
from gpu_worker.models.folder import ModelFolder
from tests.support.eventually import eventually_now
from tests.support.model_server import Faults, ModelServer

PART = 64 * 1024
PARTS = 16
BODY = random.Random(11).randbytes(PARTS * PART - 1000)
MODEL = Model(
    path="checkpoints/a.safetensors", sha256=hashlib.sha256(BODY).hexdigest(), bytes=len(BODY)
)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(BODY).serving() as server:
        yield server


async def fill(server: ModelServer, root: Path, model: Model = MODEL) -> bool:
    pace = Pace(part_bytes=PART, pause_seconds=0.001)
    with server.store() as store:
        folder = ModelFolder(store, root, InMemoryMetrics(), pace)
        return await folder.fill([model], asyncio.Event())


def fetched(root: Path) -> bytes:
    return (root / MODEL.path).read_bytes()


async def test_each_byte_is_fetched_once(server: ModelServer, tmp_path: Path) -> None:
    assert await fill(server, tmp_path)
    assert fetched(tmp_path) == BODY
    assert server.sent == len(BODY)
    starts = sorted(start for start, _ in server.requests)
    assert starts == list(range(0, len(BODY), PART))


@pytest.mark.parametrize("after", [0, 1, 4096, PART // 2, PART - 1])
async def test_a_connection_that_is_cut_in_each_part_goes_on_where_it_was(
    server: ModelServer, tmp_path: Path, after: int
) -> None:
    server.faults = Faults(cut_each=after, cuts=PARTS)
    assert await fill(server, tmp_path)
    assert fetched(tmp_path) == BODY
    assert server.sent == len(BODY)


async def test_a_connection_that_is_cut_again_and_again_is_given_up(
    server: ModelServer, tmp_path: Path
) -> None:
    server.faults = Faults(cut_each=10)
    with pytest.raises(ModelsUnusable, match=r"a\.safetensors: .*, 6 times"):
        await fill(server, tmp_path)


async def test_a_server_without_ranges_is_told(server: ModelServer, tmp_path: Path) -> None:
    server.faults = Faults(ignores_ranges=True)
    with pytest.raises(ModelsUnusable, match=r"a\.safetensors cannot be read in parts"):
        await fill(server, tmp_path)


@pytest.mark.parametrize("after", range(1, PARTS, 5))
async def test_a_file_that_is_replaced_meanwhile_is_not_mixed(
    server: ModelServer, tmp_path: Path, after: int
) -> None:
    """The lock names the file that is there in the end."""
    server.faults = Faults(replaced_after=after)
    new = replace_sha(BODY[::-1])
    assert await fill(server, tmp_path, new)
    assert fetched(tmp_path) == BODY[::-1]


async def test_a_file_that_is_replaced_by_a_wrong_one_is_told(
    server: ModelServer, tmp_path: Path
) -> None:
    server.faults = Faults(replaced_after=3)
    with pytest.raises(ModelsUnusable, match="SHA-256"):
        await fill(server, tmp_path)
    assert not (tmp_path / MODEL.path).exists()


def replace_sha(body: bytes) -> Model:
    return MODEL.model_copy(update={"sha256": hashlib.sha256(body).hexdigest()})


async def test_a_server_that_is_gone_is_told(server: ModelServer, tmp_path: Path) -> None:
    gone = replace(server)
    gone.port = 9  # the discard port, where nothing answers
    with pytest.raises(ModelsUnusable, match=r"a\.safetensors: .*, 6 times"):
        await fill(gone, tmp_path)


# --- processes ------------------------------------------------------------------------------------


def a_process(server: ModelServer, root: Path) -> subprocess.Popen[bytes]:
    arguments = [str(root), str(server.port), MODEL.sha256, str(MODEL.bytes), str(PART)]
    return subprocess.Popen([sys.executable, "-m", "tests.support.fills_models", *arguments])


def complete_parts(root: Path) -> set[int]:
    try:
        return set(map(int, journal_of(root / MODEL.path).read_text().splitlines()[1:]))
    except FileNotFoundError:
        return set()


async def test_after_kill_9_only_the_other_parts_are_fetched(
    server: ModelServer, tmp_path: Path
) -> None:
    server.faults = Faults(bytes_per_second=400_000)
    process = a_process(server, tmp_path)
    try:
        eventually_now(lambda: len(complete_parts(tmp_path)) >= 5, within=60, every=0.005)
    finally:
        process.kill()
        process.wait()
    missing = {*range(PARTS)} - complete_parts(tmp_path)
    assert missing
    server.faults = Faults()
    server.requests.clear()
    assert await fill(server, tmp_path)
    assert fetched(tmp_path) == BODY
    assert {start // PART for start, _ in server.requests} == missing


def test_two_processes_fetch_once(server: ModelServer, tmp_path: Path) -> None:
    server.faults = Faults(bytes_per_second=4_000_000)
    processes = [a_process(server, tmp_path) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert fetched(tmp_path) == BODY
    assert server.sent == len(BODY)
