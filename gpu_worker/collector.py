"""Store a prompt's output files as artifacts: stream them from ComfyUI, hash them, upload them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import PurePath
from typing import IO

from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.files.media_types import media_type_of
from comfyline.service.jobs.job import Job, artifact_key
from comfyline.service.jobs.result import Artifact
from gpu_worker.comfy.http import ComfyHttp
from gpu_worker.comfy.outputs import Output, OutputFile
from gpu_worker.pictures import SUFFIXES, encode

AT_ONCE = 4  # uses the engine's event loop and the uplink well without overloading either
IN_MEMORY_BYTES = 16 * 1024 * 1024  # larger files are spooled to disk
MAX_NAME_LENGTH = (
    120  # with the prefix that is under S3's limit of 1,024 bytes, also with 4 bytes each
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Stores what a prompt has made, under the prefix of the attempt that ran it."""

    http: ComfyHttp
    artifacts: ArtifactStore

    async def collect(
        self,
        job: Job,
        outputs: Sequence[Output],
        *,
        stored: Callable[[Sequence[Artifact]], None] = lambda _files: None,
    ) -> list[Artifact]:
        """Store every output; the artifacts, in the order of the outputs.

        `stored` is called when more files are stored and others are still to come. It gets the
        artifacts from the first output up to the first that is not stored yet.

        Raises:
            EngineUnreachable, EngineError: a file could not be fetched.
            Unavailable: a file could not be stored.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        made: dict[int, Artifact] = {}

        async def store(number: int, output: Output) -> Artifact:
            async with gate:
                made[number] = await self._store(job, number, output)
            if (ready := _leading(made)) and len(made) < len(outputs):
                stored(ready)
            return made[number]

        tasks = [asyncio.create_task(store(n, output)) for n, output in enumerate(outputs)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _store(self, job: Job, number: int, output: Output) -> Artifact:
        name = safe_name(output.name)
        with _spool() as body, _spool() as picture:
            async for chunk in self._read(output):
                body.write(chunk)
            if await asyncio.to_thread(_encode, job, output, body, picture):
                return await self._put(job, number, output, _renamed(name, job), picture)
            return await self._put(job, number, output, name, body)

    async def _put(
        self, job: Job, number: int, output: Output, name: str, body: IO[bytes]
    ) -> Artifact:
        key = artifact_key(job, number, name)
        content_type = media_type_of(name)
        size, sha256 = await asyncio.to_thread(_measured, body)
        await asyncio.to_thread(self.artifacts.put, key, body, content_type)
        return Artifact(
            key=key,
            name=name,
            kind=output.kind,
            content_type=content_type,
            bytes=size,
            sha256=sha256,
            node=output.node,
        )

    async def _read(self, output: Output) -> AsyncIterator[bytes]:
        if isinstance(output, OutputFile):
            async for chunk in self.http.view(output):
                yield chunk
        else:
            yield output.text.encode()


def _leading(made: Mapping[int, Artifact]) -> list[Artifact]:
    """The artifacts from number 0 up to the first number that is missing."""
    return [made[number] for number in takewhile(made.__contains__, count())]


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)


def _encode(job: Job, output: Output, body: IO[bytes], into: IO[bytes]) -> bool:
    is_picture = isinstance(output, OutputFile) and output.kind == "image"
    return job.options.output is not None and is_picture and encode(body, job.options.output, into)


def _renamed(name: str, job: Job) -> str:
    return PurePath(name).stem + SUFFIXES[job.options.output.format] if job.options.output else name


def _measured(body: IO[bytes]) -> tuple[int, str]:
    """Size in bytes and SHA-256 (hex) of a file, which is rewound before and after."""
    body.seek(0)
    digest = hashlib.file_digest(body, "sha256").hexdigest()  # type: ignore[arg-type]
    size = body.tell()
    body.seek(0)
    return size, digest


def safe_name(name: str) -> str:
    """The last part of a path, without characters that are special to shells, URLs or disks.

    Letters, digits and combining marks of every script are kept, in Unicode's form NFC.
    """
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    kept = "".join(character if _is_safe(character) else "_" for character in last)
    return kept[-MAX_NAME_LENGTH:].strip(". ") or "file"


def _is_safe(character: str) -> bool:
    # The scripts of India and Persia write some words with the joiners U+200C and U+200D.
    is_of_word = unicodedata.category(character)[0] in "LMN"
    return is_of_word or character in "_.- ()\u200c\u200d"
