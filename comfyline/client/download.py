"""Saves a job's files: streamed, checked, and never outside the directory or over another file."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from comfyline import wire
from comfyline.client.backoff import Backoff
from comfyline.client.errors import DownloadFailed

TRIES = 5
MAX_NAME_BYTES = 200  # most file systems allow 255; leaves room for a number
_LONGEST_SUFFIX = 20
_CHUNK_BYTES = 1024 * 1024

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

    http: httpx.Client
    read: Callable[[], wire.JobView]
    backoff: Backoff
    sleep: Callable[[float], None]

    def save(self, directory: Path) -> list[Path]:
        """See `Job.download`."""
        artifacts = self._artifacts()
        directory.mkdir(parents=True, exist_ok=True)
        return [self._saved(index, each, directory) for index, each in enumerate(artifacts)]

    def _artifacts(self) -> list[wire.ArtifactView]:
        view = self.read()
        if view.result is None:
            raise DownloadFailed(f"job {view.job_id} is {view.status}: it has no files")
        return view.result.artifacts

    def _saved(self, index: int, artifact: wire.ArtifactView, directory: Path) -> Path:
        for path in itertools.takewhile(os.path.lexists, _paths(directory, artifact.name)):
            if _holds(path, artifact):
                return path
        with _temporary(directory) as temporary:
            self._fetch(index, artifact, temporary)
            return _placed(temporary, artifact, directory)

    def _fetch(self, index: int, artifact: wire.ArtifactView, path: Path) -> None:
        for failures in itertools.count(1):
            try:
                self._try(artifact, path)
                return
            except _Unlucky as error:
                if failures == TRIES:
                    raise DownloadFailed(f"{safe_name(artifact.name)}: {error}") from error
                self.sleep(self.backoff.seconds(failures))
                if error.stale:
                    artifact = self._fresh(index, artifact)

    def _fresh(self, index: int, artifact: wire.ArtifactView) -> wire.ArtifactView:
        artifacts = self._artifacts()
        if index >= len(artifacts) or artifacts[index].sha256 != artifact.sha256:
            raise DownloadFailed(f"{safe_name(artifact.name)}: the job no longer has this file")
        return artifacts[index]

    def _try(self, artifact: wire.ArtifactView, path: Path) -> None:
        # The stored bytes are what the SHA-256 is of: no content coding may come between.
        headers = {"Accept-Encoding": "identity"}
        try:
            with self.http.stream("GET", artifact.url, headers=headers) as response:
                status = response.status_code
                if status != httpx.codes.OK:
                    raise _Unlucky(f"HTTP {status}", stale=status in _STALE_STATUS)
                _write(response, artifact, path)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            # Without the URL: its signature opens the file to whoever reads the message.
            raise _Unlucky(type(error).__name__) from error


def _write(response: httpx.Response, artifact: wire.ArtifactView, path: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in response.iter_raw(_CHUNK_BYTES):
            size += len(chunk)
            if size > artifact.bytes:
                break  # do not let a wrong answer fill the disk
            digest.update(chunk)
            file.write(chunk)
    if size != artifact.bytes:
        raise _Unlucky(f"not the {artifact.bytes} bytes that the job has")
    if digest.hexdigest() != artifact.sha256.lower():
        raise _Unlucky("the content does not match its SHA-256")


def _placed(temporary: Path, artifact: wire.ArtifactView, directory: Path) -> Path:
    """Move the file under the first name that is free, or already its own."""
    for path in _paths(directory, artifact.name):
        try:
            path.touch(exist_ok=False)  # claims the name: a rename alone would overwrite
        except FileExistsError:
            if _holds(path, artifact):
                return path
            continue
        break
    temporary.replace(path)
    return path


def _paths(directory: Path, name: str) -> Iterator[Path]:
    path = directory / safe_name(name)
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _holds(path: Path, artifact: wire.ArtifactView) -> bool:
    if not path.is_file() or path.stat().st_size != artifact.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256.lower()


@contextmanager
def _temporary(directory: Path) -> Iterator[Path]:
    path = directory / f".comfyline-{secrets.token_hex(8)}.part"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
