"""Store what a prompt has made as artifacts: hash it, encode it if asked for, upload it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import re
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO

from comfyline.contract.media_types import media_type_of
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact, ResultWarning
from gpu_worker.made import Made
from gpu_worker.pictures import SUFFIXES, encode

AT_ONCE = 8  # uses the uplink well; a large file is sent in several parts at once anyway
IN_MEMORY_BYTES = 16 * 1024 * 1024  # a larger picture is encoded to disk
MAX_TRIES = 3  # to store a file that changes meanwhile, because a node still writes it
MAX_NAME_LENGTH = (
    120  # with the prefix that is under S3's limit of 1,024 bytes, also with 4 bytes each
)

_log = logging.getLogger(__name__)


class _NotStored(Exception):
    """One file cannot be stored, and another try would not help. The message is for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Stores what a prompt has made, under the prefix of the attempt that ran it."""

    artifacts: ArtifactStore

    async def collect(
        self,
        job: Job,
        made: Sequence[Made],
        *,
        stored: Callable[[Sequence[Artifact]], None] = lambda _files: None,
    ) -> tuple[list[Artifact], list[ResultWarning]]:
        """Store everything; the artifacts in the order of `made`, and what could not be stored.

        `stored` is called when more files are stored and others are still to come. It gets the
        artifacts from the first up to the first that is not stored yet.

        Raises:
            Unavailable: the store cannot be reached.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        done = _Done()

        async def store(number: int) -> None:
            async with gate:
                done.add(number, await asyncio.to_thread(self._store, job, number, made[number]))
            if len(done.all) < len(made) and done.leading:
                stored(tuple(done.leading))

        tasks = [asyncio.create_task(store(number)) for number in range(len(made))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return done.leading, [w for w in done.all.values() if isinstance(w, ResultWarning)]

    def _store(self, job: Job, number: int, made: Made) -> Artifact | ResultWarning:
        try:
            for _ in range(MAX_TRIES):
                changed_at = made.changed_at()
                artifact = self._put(job, number, made)
                if made.changed_at() == changed_at:
                    return artifact
            raise _NotStored("was still being written when the prompt had ended")
        except OSError as error:
            if error.errno in (
                errno.ENOSPC,
                errno.EDQUOT,
            ):  # the disk is full, which is no fault of the file
                raise
            extra = {"action": "file_not_read", "job_id": job.id}
            _log.warning("file not read", extra=extra, exc_info=True)
            return _warning(made, "could not be read")
        except _NotStored as error:
            return _warning(made, str(error))

    def _put(self, job: Job, number: int, made: Made) -> Artifact:
        with made.open() as body, tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as picture:
            if _encode(job, made, body, picture):
                return self._upload(job, number, made, _renamed(made.name, job), picture)
            return self._upload(job, number, made, made.name, body)

    def _upload(
        self, job: Job, number: int, made: Made, file_name: str, body: IO[bytes]
    ) -> Artifact:
        name = safe_name(file_name)
        key = artifact_key(job, number, name)
        content_type = media_type_of(name)
        body.seek(0)
        sent = _Hashed(body)
        self.artifacts.put(key, sent, content_type)
        return Artifact(
            key=key,
            name=name,
            kind=made.kind,
            content_type=content_type,
            bytes=sent.bytes,
            sha256=sent.sha256,
            node=made.node,
            temporary=made.temporary,
        )


def _warning(made: Made, what: str) -> ResultWarning:
    message = f"The file {made.name!r} {what}."
    return ResultWarning(type="file_not_stored", message=message, node_id=made.node or None)


class _Done:
    """The result of each file, and the artifacts up to the first file without a result."""

    def __init__(self) -> None:
        self.all: dict[int, Artifact | ResultWarning] = {}
        self.leading: list[Artifact] = []
        self._next = 0  # the first number that is missing

    def add(self, number: int, made: Artifact | ResultWarning) -> None:
        """Add one. All calls together cost as much as there are files."""
        self.all[number] = made
        while (following := self.all.get(self._next)) is not None:
            self._next += 1
            if isinstance(following, Artifact):
                self.leading.append(following)


def _encode(job: Job, made: Made, body: IO[bytes], into: IO[bytes]) -> bool:
    wanted = job.options.output
    return wanted is not None and made.kind == "image" and encode(body, wanted, into)


def _renamed(name: str, job: Job) -> str:
    return PurePath(name).stem + SUFFIXES[job.options.output.format] if job.options.output else name


class _Hashed:
    """A file that is hashed as it is read, because another pass would delay a large one."""

    def __init__(self, body: IO[bytes]) -> None:
        self.bytes = 0  # that were read so far
        self._body, self._digest = body, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._body.read(size)
        self._digest.update(found)
        self.bytes += len(found)
        return found

    @property
    def sha256(self) -> str:
        """The SHA-256 (hex) of what was read so far."""
        return self._digest.hexdigest()


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
