"""Thumbnails: what the child makes of hostile pictures, and what becomes of a child that fails."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.jobs.artifact_keys import artifact_key, thumbnail_key
from comfyline.service.jobs.job import Job
from gpu_worker.made import Made
from gpu_worker.thumbnail import MAX_PIXELS
from gpu_worker.thumbnail_process import ThumbnailProcess
from gpu_worker.thumbnails import MAX_PICTURES, Pictures, Thumbnails
from gpu_worker.workspace import HeldFile
from tests.contract.jobs.stored import saved
from tests.support.builders import a_job, an_artifact, claimed, running, succeeded
from tests.support.eventually import eventually

RED = (255, 0, 0)


class Room:
    """An ended job in memory, and the thumbnails that are made of files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.artifacts = InMemoryJobStore(), InMemoryArtifactStore()
        job = a_job()
        self.job: Job = succeeded(job)
        saved(self.store, job, claimed(job), running(job), self.job)

    def pictures(self, *bodies: bytes, name: str = "picture.png") -> Pictures:
        made, artifacts = [], []
        for number, body in enumerate(bodies):
            path = self.folder / f"{number}"
            path.write_bytes(body)
            file = HeldFile("output", name, path)
            made.append(Made(name=name, node="9", kind="image", content=file))
            key = artifact_key(self.job, number, name)
            artifacts.append(replace(an_artifact(self.job, number), key=key, name=name))
        return Pictures.opened(self.job, made, artifacts)

    async def made(
        self, *bodies: bytes, process: ThumbnailProcess | None = None, **about: Any
    ) -> tuple[int, ...]:
        """The numbers of the thumbnails that were made of these files."""
        making = Thumbnails(self.store, self.artifacts, process)
        pictures = self.pictures(*bodies, **about)
        task = asyncio.create_task(making.make_for_ever())
        making.offer(pictures)
        try:
            await eventually(lambda: all(file.closed for _, file in pictures.files))
        finally:
            task.cancel()
            await asyncio.wait([task])
        record = self.store.read(self.job.id)
        assert record is not None
        return record.thumbnails

    def shown(self, number: int = 0) -> Image.Image:
        return Image.open(io.BytesIO(self.artifacts.files[thumbnail_key(self.job, number)].body))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def saved_as(kind: str, picture: Image.Image, **options: Any) -> bytes:
    into = io.BytesIO()
    picture.save(into, kind, **options)
    return into.getvalue()


def a_picture(mode: str = "RGB", size: tuple[int, int] = (1024, 256), colour: Any = RED) -> Any:
    return Image.new(mode, size, colour)


def a_bomb(width: int, height: int) -> bytes:
    """A PNG of these dimensions without its pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_thumbnail_fits_into_its_side(room: Room, kind: str) -> None:
    assert await room.made(saved_as(kind, a_picture())) == (0,)
    with room.shown() as small:
        assert (small.format, small.size) == ("WEBP", (512, 128))


async def test_hostile_pictures_cost_only_their_own_thumbnail(room: Room) -> None:
    whole = saved_as("PNG", Image.effect_noise((300, 300), 90))
    bodies = [
        a_bomb(100_000, 100_000),
        a_bomb(MAX_PIXELS + 1, 1),
        whole[: len(whole) // 2],
        saved_as("JPEG", Image.effect_noise((300, 300), 90))[:900],
        whole[:8],
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        saved_as("GIF", a_picture()),
        saved_as("TIFF", a_picture()),
        b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes(100),
        saved_as("PNG", a_picture()),
    ]
    assert await room.made(*bodies) == (10,)


async def test_the_content_decides_and_not_the_name(room: Room) -> None:
    bodies = [saved_as("JPEG", a_picture()), b"#!/bin/sh\n"]
    assert await room.made(*bodies, name="clip.mp4") == (0,)
    assert await room.made(saved_as("BMP", a_picture()), name="picture.png") == (0,)


async def test_an_animation_shows_its_first_picture(room: Room) -> None:
    frames = [a_picture(colour="blue")] * 2
    for n, kind in enumerate(("WEBP", "PNG")):
        body = saved_as(kind, a_picture(), save_all=True, append_images=frames, duration=40)
        assert await room.made(body) == (0,), n
        with room.shown() as small:
            assert getattr(small, "n_frames", 1) == 1
            assert _is_near(small, RED)


def _is_near(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    found: Any = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    return all(abs(a - b) < 30 for a, b in zip(found, colour, strict=True))


async def test_colours_of_rare_kinds(room: Room) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    clear = a_picture("RGBA", colour=(255, 0, 0, 128))
    indexed = a_picture("P", colour=0)
    indexed.putpalette([255, 0, 0])
    bodies = [
        saved_as("PNG", a_picture("I;16", colour=32_768)),
        saved_as("JPEG", a_picture("CMYK", colour=(0, 255, 255, 0))),
        saved_as("PNG", a_picture(), icc_profile=profile),
        saved_as("PNG", clear),
        saved_as("PNG", indexed),
        saved_as("PNG", a_picture("1", colour=1)),
        saved_as("JPEG", a_picture("L", colour=100), icc_profile=profile),
    ]
    assert await room.made(*bodies) == tuple(range(7))
    grey, white = (128,) * 3, (255,) * 3
    for number, colour in enumerate((grey, RED, RED, RED, RED, white, (100,) * 3)):
        assert _is_near(room.shown(number), colour), number
    assert room.shown(2).info["icc_profile"] == profile
    assert "icc_profile" not in room.shown(1).info
    assert room.shown(3).getpixel((5, 5))[3] == 128


async def test_a_turned_picture_is_shown_upright_and_without_its_metadata(room: Room) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "the workflow"
    for kind in ("JPEG", "PNG", "WEBP"):
        assert await room.made(saved_as(kind, a_picture(), exif=exif)) == (0,)
        with room.shown() as small:
            assert small.size == (128, 512)
            assert not small.getexif()


def a_program(python: str, *, seconds: float = 60.0) -> ThumbnailProcess:
    """The program with this code in place of its own. `serve` is the program's."""
    code = f"import os, signal, sys, time; from gpu_worker.thumbnail_server import serve; {python}"
    return ThumbnailProcess((sys.executable, "-c", code), seconds=seconds)


@pytest.mark.parametrize(
    "program",
    [
        "serve(lambda body: os.kill(os.getpid(), signal.SIGKILL))",
        "serve(lambda body: sys.exit(0))",
        "serve(lambda body: b'no picture')",
        "serve(lambda body: b'RIFF0000WEBP' + b'x' * 2_000_000)",
        "serve(lambda body: time.sleep(600))",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "time.sleep(600)",
    ],
    ids=[
        "killed",
        "ended",
        "not WebP",
        "too large",
        "hangs",
        "the program is killed",
        "the program hangs",
    ],
)
async def test_a_child_that_fails_makes_none(room: Room, program: str) -> None:
    process = a_program(program, seconds=2.0)
    assert await room.made(saved_as("PNG", a_picture()), process=process) == ()
    assert room.artifacts.files == {}


async def test_a_picture_that_ends_the_program_costs_only_its_own_thumbnail(room: Room) -> None:
    process = a_program(
        "from gpu_worker.thumbnail import thumbnail;"
        "is_png = lambda body: (body.seek(0), body.read(4))[1] == b'\\x89PNG';"
        "end = lambda: os.kill(os.getppid(), signal.SIGKILL);"
        "serve(lambda body: thumbnail(body) if is_png(body) else end())"
    )
    picture = saved_as("PNG", a_picture())
    bodies = [picture, saved_as("JPEG", a_picture()), picture, picture]
    assert await room.made(*bodies, process=process) == (0, 2, 3)


async def test_the_child_has_no_credentials_and_little_of_everything(
    room: Room, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    told = tmp_path / "told"
    program = (
        "import resource as r;"
        "capable = lambda: [line for line in open('/proc/self/status')"
        " if line.startswith(('CapEff', 'CapPrm'))];"
        f"serve(lambda body: open({str(told)!r}, 'w').write(repr(("
        "sorted(os.environ.keys() - {'LC_CTYPE'}),"
        "[int(line.split()[1], 16) for line in capable()],"
        "[r.getrlimit(n)[1] for n in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE)],"
        "sum('socket' in os.path.realpath(f'/proc/self/fd/{n}') for n in range(100))))))"
    )
    await room.made(saved_as("PNG", a_picture()), process=a_program(program))
    # None of its files is the connection to the worker.
    assert told.read_text() == repr(([], [0, 0], [20, 2**30, 2**20], 0))


async def test_the_child_gets_only_the_cpu_that_the_worker_leaves(
    room: Room, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    program = (
        f"serve(lambda body: open({str(told)!r}, 'w').write(repr((os.nice(0), os.getsid(0)))))"
    )
    await room.made(saved_as("PNG", a_picture()), process=a_program(program))
    assert told.read_text() == repr((19, os.getsid(0)))


async def test_a_stop_ends_the_child_and_closes_the_files(room: Room, tmp_path: Path) -> None:
    told = tmp_path / "pids"
    program = (
        f"serve(lambda body: (open({str(told)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}.'),"
        "time.sleep(600)))"
    )
    making = Thumbnails(room.store, room.artifacts, a_program(program))
    task = asyncio.create_task(making.make_for_ever())
    offered = [room.pictures(saved_as("PNG", a_picture())) for _ in range(2)]
    for pictures in offered:
        making.offer(pictures)
    await eventually(lambda: told.exists() and told.read_text().endswith("."))
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.done()
    assert all(file.closed for pictures in offered for _, file in pictures.files)
    child, server = map(int, told.read_text().strip(".").split())
    await eventually(lambda: not _runs(child) and not _runs(server))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()


async def test_a_removed_job_gets_no_thumbnail(room: Room) -> None:
    pictures = room.pictures(saved_as("PNG", a_picture()))
    row = room.store.get(room.job.id)
    assert row is not None
    room.store._jobs.clear()  # as a purge does
    making = Thumbnails(room.store, room.artifacts)
    task = asyncio.create_task(making.make_for_ever())
    making.offer(pictures)
    await eventually(lambda: all(file.closed for _, file in pictures.files))
    task.cancel()
    await asyncio.wait([task])
    assert room.artifacts.files == {}


def test_only_the_first_pictures_are_opened(room: Room) -> None:
    body = saved_as("PNG", a_picture(size=(1, 1)))
    pictures = room.pictures(b"a text", *[body] * (MAX_PICTURES + 5))
    assert [number for number, _ in pictures.files] == list(range(1, MAX_PICTURES + 1))
    pictures.close()


def test_a_number_is_that_of_the_artifact_and_not_of_what_was_made(room: Room) -> None:
    bodies = [b"lost", saved_as("PNG", a_picture())]
    opened = room.pictures(*bodies)
    opened.close()
    path = room.folder / "1"
    made = [
        Made(name="x", node="9", kind="image", content=HeldFile("output", "x", path))
        for path in (room.folder / "0", path)
    ]
    stored = replace(an_artifact(room.job), key=artifact_key(room.job, 1, "x"))
    pictures = Pictures.opened(room.job, made, [stored])  # the first was not stored
    assert [number for number, _ in pictures.files] == [0]
    pictures.close()
