"""The engine's models folder: every model is complete and correct, or it is not there at all.

    S3 ── parts over many connections ──> .<name>.part ── SHA-256 ── rename ──> <name>

Beside a model, the .checked file remembers the size and time of the checked file, so that gigabytes
are not hashed at every start. The .fetched file says that a worker made the file, and may remove
it. The folder may outlive its worker, and with a stopped instance also a restart of the machine. So
each file is flushed to the disk, but after the worker has begun to take jobs.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from comfyline.service.files.models import ModelStore
from comfyline.service.graphs.lock import Model
from comfyline.service.metrics import Metrics
from gpu_worker.models.download import (
    DEFAULT_PACE,
    STOP_SECONDS,
    Download,
    ModelsUnusable,
    Pace,
    StartAgain,
    Stopped,
    journal_of,
    unfinished,
)
from gpu_worker.models.progress import Progress
from gpu_worker.racing import first_of

# S3 gives one connection up to 90 MB/s. So many use a line of 10 Gbit/s, the fastest of the usual
# GPU instances with one GPU, and most of one of 25.
CONNECTIONS = 16
HASHERS = 4  # files hashed at the same time; one file of 24 GB is hashed by one thread
ROUNDS = 3  # in each one everything that is missing is fetched; a further one follows StartAgain
PROGRESS_SECONDS = 10.0  # between two lines of the log
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The engine's models folder. Several workers may share one: they fetch in turn."""

    store: ModelStore
    root: Path
    metrics: Metrics
    pace: Pace = DEFAULT_PACE
    connections: int = CONNECTIONS
    _fetched: list[Model] = field(default_factory=list)  # not flushed to the disk yet

    async def fill(
        self,
        models: Sequence[Model],
        drain: asyncio.Event,
        ready: Callable[[Model], None] = lambda _model: None,
    ) -> bool:
        """Fetch the models that are missing; False if `drain` was set first.

        `ready` is called by any thread with each model as soon as the engine can load it.

        Raises:
            ModelsUnusable: one of them cannot be had; the message says which and why.
        """
        stop = Event()  # for the threads, which cannot be canceled
        filling = asyncio.create_task(asyncio.to_thread(self._fill, models, stop, ready))
        try:
            await first_of(asyncio.wait({filling}), drain.wait())
        finally:
            stop.set()
        try:
            await filling
        except Stopped:
            return False
        # A daemon, so that a worker that ends does not wait for a slow disk.
        Thread(target=self.flush, daemon=True).start()
        return True

    def flush(self) -> None:
        """Write the files that were fetched to the disk, so that they outlive a crash of it."""
        while self._fetched:
            path = self.root / (model := self._fetched.pop()).path
            with suppress(OSError):  # removed or replaced meanwhile, or it is checked again
                identity = _identity(path, model)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                if identity == _identity(path, model):
                    # Another worker may read the mark meanwhile: it sees both lines, or one.
                    os.truncate(_checked(path), len(identity))

    def _fill(self, models: Sequence[Model], stop: Event, ready: Callable[[Model], None]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked(stop):
            self._remove_others(models)
            missing = self._missing(models, ready)
            progress = Progress(self.metrics)
            for left in reversed(range(ROUNDS)):
                try:
                    self._fetch_all(missing, stop, ready, progress)
                    break
                except StartAgain as error:
                    error.download.discard()
                    if not left:
                        raise ModelsUnusable(f"{error}, {ROUNDS} times") from error
                    extra = {"action": "model_again", "why": str(error)}
                    _log.warning("models are fetched again", extra=extra)
                missing = [model for model in missing if not (self.root / model.path).exists()]
        progress.end(len(models))

    @contextmanager
    def _locked(self, stop: Event) -> Iterator[None]:
        """Lock the folder against other workers. The kernel frees the lock of a dead process."""
        with (self.root / ".lock").open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop.wait(self.pace.pause_seconds):
                        raise Stopped from None
            yield

    def _remove_others(self, models: Sequence[Model]) -> None:
        """Remove what a worker with another lock has fetched: only this lock's models can be used.

        A file that no worker fetched stays, because a folder of one's own may have other files.
        """
        kept = {self.root / model.path for model in models}
        begun = {file for path in kept for file in (unfinished(path), journal_of(path))}
        for kind in (".*.part", ".*.parts"):
            for file in {*self.root.rglob(kind)} - begun:
                file.unlink()
        for mark in tuple(self.root.rglob(".*.fetched")):
            path = mark.with_name(mark.name.removeprefix(".").removesuffix(".fetched"))
            if path not in kept:
                for file in (path, _checked(path), mark):
                    file.unlink(missing_ok=True)

    # --- what is there ----------------------------------------------------------------------------

    def _missing(self, models: Sequence[Model], ready: Callable[[Model], None]) -> list[Model]:
        missing = []
        with ThreadPoolExecutor(HASHERS) as pool:
            for model, found in zip(models, pool.map(self._is_present, models), strict=True):
                if found:
                    ready(model)
                else:
                    missing.append(model)
        return missing

    def _is_present(self, model: Model) -> bool:
        """Whether the file is there and correct; it is hashed unless it was checked before."""
        path = self.root / model.path
        if not path.is_file() or path.stat().st_size != model.bytes:
            return False
        identity = _identity(path, model)
        if _checked(path).is_file() and _checked(path).read_text() in _accepted(identity):
            return True
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != model.sha256:
                return False
        _checked(path).write_text(identity)
        return True

    def _require_space(self, downloads: Sequence[Download]) -> None:
        needed, free = sum(d.unallocated for d in downloads), shutil.disk_usage(self.root).free
        if needed > free:
            raise ModelsUnusable(f"models of {needed:,} bytes do not fit into {free:,} bytes")

    # --- fetching ---------------------------------------------------------------------------------

    def _fetch_all(
        self,
        models: Sequence[Model],
        stop: Event,
        ready: Callable[[Model], None],
        progress: Progress,
    ) -> None:
        """Fetch the parts of all models in order. The first failure stops everything."""
        failed = _Either(stop)
        downloads = [self._download(model, failed, progress) for model in models]
        self._require_space(downloads)
        progress.begin(sum(download.missing_bytes for download in downloads))
        try:
            self._run(downloads, failed, ready, progress)
        except OSError as error:
            for download in downloads:
                download.discard()
            raise ModelsUnusable(f"models cannot be written: {error}") from error

    def _run(
        self,
        downloads: Sequence[Download],
        failed: Event,
        ready: Callable[[Model], None],
        progress: Progress,
    ) -> None:
        """Fetch and hash on threads. At its end, also after an error, no thread writes any more."""
        with ThreadPoolExecutor(self.connections) as lines, ThreadPoolExecutor(HASHERS) as hashers:
            try:
                for download in downloads:
                    download.allocate()
                work: list[Future[None]] = [
                    lines.submit(download.fetch, part)
                    for download in downloads
                    for part in download.missing
                ]
                work += [hashers.submit(self._finish, each, ready) for each in downloads]
                self._wait(work, progress)
            finally:
                failed.set()
                lines.shutdown(cancel_futures=True)

    def _download(self, model: Model, stop: Event, progress: Progress) -> Download:
        return Download(
            model,
            self.root / model.path,
            self.store,
            stop,
            received=progress.received,
            pace=self.pace,
        )

    def _wait(self, work: Sequence[Future[None]], progress: Progress) -> None:
        """Wait for all work; raises the error of the first that fails."""
        left = {*work}
        while left:
            done, left = wait(left, timeout=PROGRESS_SECONDS, return_when=FIRST_EXCEPTION)
            for error in filter(None, (each.exception() for each in done)):
                raise error
            if left:
                progress.report()

    def _finish(self, download: Download, ready: Callable[[Model], None]) -> None:
        model, path = download.model, self.root / download.model.path
        download.hashed()
        _checked(path).unlink(missing_ok=True)
        _fetched(path).touch()
        download.finish(path)
        _checked(path).write_text(_until_restart(_identity(path, model)))
        self._fetched.append(model)
        ready(model)


class _Either(Event):
    """Set by itself, or by another event."""

    def __init__(self, other: Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := end - time.monotonic()) > 0:
            super().wait(min(left, STOP_SECONDS))
        return self.is_set()


def _checked(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _fetched(path: Path) -> Path:
    return path.with_name(f".{path.name}.fetched")


def _identity(path: Path, model: Model) -> str:
    found = path.stat()
    return f"{model.sha256} {found.st_size} {found.st_mtime_ns}\n"


def _until_restart(identity: str) -> str:
    """The identity of a file that is perhaps not on the disk yet; it ends with this boot."""
    return identity + _BOOT_ID.read_text()


def _accepted(identity: str) -> tuple[str, str]:
    return identity, _until_restart(identity)
