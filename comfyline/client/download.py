"""Saves a job's files: streamed, checked, and never outside the directory or over another file.

What has arrived of a file is kept beside it under the name of its content, so that a transfer that
breaks, or a process that dies, goes on where it was; only what matches the SHA-256 gets the name.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from comfyline.client.backoff import Backoff
from comfyline.client.errors import DownloadFailed
from comfyline.client.flow import EndFetch, Fetch, Flow, NextChunk, Pause, Together
from comfyline.contract.v1 import responses

TRIES = 5
AT_ONCE = 4  # fills most links without taking one whole
MAX_NAME_BYTES = 200  # most file systems allow 255; leaves room for a number
_LONGEST_SUFFIX = 20

# S3 answers 403 for a signature past its time and 400 (ExpiredToken) for one whose signer's session
# has ended; a fresh URL helps with both.
_STALE_STATUS = frozenset({400, 403})

# What Windows forbids, control characters, and those that turn the direction of text.
_FORBIDDEN = re.compile('[<>:"|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")  # on Windows


def safe_name(name: str) -> str:
    """A visible file name without any directory, whatever `name` is; same in, same out."""
    last = re.split(r"[/\\]", name.encode(errors="replace").decode())[-1]
    clean = _FORBIDDEN.sub("_", last).strip(" .")
    if _DEVICES.match(clean):
        clean = "_" + clean
    suffix = Path(clean).suffix
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = ""  # a name with a dot in it, not a kind of file
    stem = clean.removesuffix(suffix).encode()[: MAX_NAME_BYTES - len(suffix.encode())]
    return (stem.decode(errors="ignore") + suffix) or "artifact"


class _Unlucky(Exception):
    """This try failed, the next may not; `stale` if it needs a fresh URL."""

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale


@dataclass(frozen=True, slots=True)
class Downloads:
    """Saves the files of the job that `read` reads."""

    read: Callable[[], Flow[responses.JobView]]
    backoff: Backoff

    def save(self, directory: Path) -> Flow[list[Path]]:
        """See `Job.download`."""
        artifacts = yield from self._artifacts()
        directory.mkdir(parents=True, exist_ok=True)
        # Equal files are one transfer: two would write to the same place.
        numbers = {a.sha256.lower(): n for n, a in reversed(list(enumerate(artifacts)))}
        firsts = sorted(numbers.values())
        flows = [self._arrived(n, artifacts[n], directory) for n in firsts]
        yield Together(flows, AT_ONCE)
        return _placed_all(artifacts, directory)

    def _artifacts(self) -> Flow[list[responses.ArtifactView]]:
        view = yield from self.read()
        if view.result is None:
            raise DownloadFailed(f"job {view.job_id} is {view.status}: it has no files")
        return view.result.artifacts

    def _arrived(self, index: int, artifact: responses.ArtifactView, directory: Path) -> Flow[None]:
        """Have the content in the directory: under the name of a file, or as a whole part."""
        taken = itertools.takewhile(os.path.lexists, _paths(directory, artifact.name))
        if not any(_holds(path, artifact) for path in taken):
            yield from self._fetch(index, artifact, _part(directory, artifact))

    def _fetch(self, index: int, artifact: responses.ArtifactView, part: Path) -> Flow[None]:
        for failures in itertools.count(1):
            try:
                yield from self._try(artifact, part)
                return
            except _Unlucky as error:
                if failures == TRIES:
                    raise DownloadFailed(f"{safe_name(artifact.name)}: {error}") from error
                yield Pause(self.backoff.seconds(failures))
                if error.stale:
                    artifact = yield from self._fresh(index, artifact)

    def _fresh(self, index: int, artifact: responses.ArtifactView) -> Flow[responses.ArtifactView]:
        artifacts = yield from self._artifacts()
        if index >= len(artifacts) or artifacts[index].sha256 != artifact.sha256:
            raise DownloadFailed(f"{safe_name(artifact.name)}: the job no longer has this file")
        return artifacts[index]

    def _try(self, artifact: responses.ArtifactView, part: Path) -> Flow[None]:
        have = part.stat().st_size if part.exists() else 0
        if have < artifact.bytes or not have:
            yield from self._transfer(artifact, part, have)
        if not part.exists() or part.stat().st_size < artifact.bytes:
            raise _Unlucky(f"not the {artifact.bytes} bytes that the job has")
        if not _holds(part, artifact):
            part.unlink()  # going on from it would repeat what is wrong
            raise _Unlucky("the content does not match its SHA-256")

    def _transfer(self, artifact: responses.ArtifactView, part: Path, have: int) -> Flow[None]:
        # The stored bytes are what the SHA-256 is of: no content coding may come between.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            response: httpx.Response = yield Fetch(artifact.url, headers)
            status = response.status_code
            if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                raise _Unlucky(f"HTTP {status}", stale=status in _STALE_STATUS)
            goes_on = status == httpx.codes.PARTIAL_CONTENT
            yield from _written(part, artifact.bytes, have if goes_on else 0)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            # Without the URL: its signature opens the file to whoever reads the message.
            raise _Unlucky(type(error).__name__) from error
        yield EndFetch()


def _written(part: Path, most: int, have: int) -> Flow[None]:
    """Append the download to what is there; more than `most` bytes in all are not taken."""
    with part.open("ab" if have else "wb") as file:
        while chunk := (yield NextChunk()):
            have += len(chunk)
            if have > most:
                break  # do not let a wrong answer fill the disk
            file.write(chunk)


def _part(directory: Path, artifact: responses.ArtifactView) -> Path:
    # Of the digest only what is one: it comes from elsewhere and becomes a name.
    digest = hashlib.sha256(artifact.sha256.lower().encode()).hexdigest()[:32]
    return directory / f".comfyline-{digest}.part"


def _placed_all(artifacts: Sequence[responses.ArtifactView], directory: Path) -> list[Path]:
    paths: list[Path] = []
    named: dict[str, Path] = {}  # the first file of each content
    for artifact in artifacts:
        path = _placed(artifact, directory, named.get(artifact.sha256))
        named.setdefault(artifact.sha256, path)
        paths.append(path)
    return paths


def _placed(artifact: responses.ArtifactView, directory: Path, same: Path | None) -> Path:
    """Move the part under the first name that is free, or already its own."""
    for path in _paths(directory, artifact.name):
        try:
            path.touch(exist_ok=False)  # claims the name: a rename alone would overwrite
        except FileExistsError:
            if _holds(path, artifact):
                return path
            continue
        break
    part = _part(directory, artifact)
    if same is not None:
        shutil.copyfile(same, part)
    part.replace(path)
    return path


def _paths(directory: Path, name: str) -> Iterator[Path]:
    path = directory / safe_name(name)
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _holds(path: Path, artifact: responses.ArtifactView) -> bool:
    if not path.is_file() or path.stat().st_size != artifact.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256.lower()
