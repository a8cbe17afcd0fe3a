"""The engine's models on this machine: fetched and checked before the first job, and only once.

    S3 ── stream and hash ──> .<name>.part ── rename ──> <name>, and .<name>.checked beside it

So a model is either complete and correct, or it is not there at all. The .checked file remembers
the size and time of the checked file, so that gigabytes are not hashed at every start. The .fetched
file says that a worker made the file, and may remove it. No file is flushed to the disk, because
the folder does not outlive its machine.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from comfyline.service.errors import Unavailable
from comfyline.service.files.models import ModelMissing, ModelStore
from comfyline.service.graphs.lock import Model
from gpu_worker.racing import first_of

AT_ONCE = 4  # one connection to S3 does not use all of a GPU instance's bandwidth
TRIES = 4
PAUSE_SECONDS = 2.0  # between tries, and between tries to lock a folder that another worker fills

_log = logging.getLogger(__name__)


class ModelsUnusable(Exception):
    """A model cannot be had as the lock describes it, so this worker cannot run jobs."""


class _Stopped(Exception):
    """The fetching was stopped from outside."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """The engine's models folder. Several workers may share one: they fetch in turn."""

    store: ModelStore
    root: Path
    pause_seconds: float = PAUSE_SECONDS

    async def fill(self, models: Sequence[Model], drain: asyncio.Event) -> bool:
        """Fetch the models that are missing; False if `drain` was set first.

        Raises:
            ModelsUnusable: one of them cannot be had; the message says which and why.
        """
        stop = Event()  # for the threads, which cannot be canceled
        filling = asyncio.create_task(asyncio.to_thread(self._fill, models, stop))
        try:
            await first_of(asyncio.wait({filling}), drain.wait())
        finally:
            stop.set()
        try:
            await filling
        except _Stopped:
            return False
        return True

    def _fill(self, models: Sequence[Model], stop: Event) -> None:
        started_at = time.monotonic()
        self.root.mkdir(parents=True, exist_ok=True)
        with self._locked(stop), ThreadPoolExecutor(AT_ONCE) as pool:
            for unfinished in self.root.rglob(".*.part"):
                unfinished.unlink()
            self._remove_others(models)
            present = pool.map(self._is_present, models)
            missing = [model for model, found in zip(models, present, strict=True) if not found]
            self._require_space(missing)
            self._fetch_all(pool, missing, stop)
        _log.info(
            "models ready",
            extra={
                "action": "models_ready",
                "models": len(models),
                "fetched_bytes": sum(model.bytes for model in missing),
                "seconds": round(time.monotonic() - started_at, 1),
            },
        )

    @contextmanager
    def _locked(self, stop: Event) -> Iterator[None]:
        """Lock the folder against other workers. The kernel frees the lock of a dead process."""
        with (self.root / ".lock").open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop.wait(self.pause_seconds):
                        raise _Stopped from None
            yield

    def _remove_others(self, models: Sequence[Model]) -> None:
        """Remove what a worker with another lock has fetched: only this lock's models can be used.

        A file that no worker fetched stays, because a folder of one's own may have other files.
        """
        kept = {self.root / model.path for model in models}
        for mark in tuple(self.root.rglob(".*.fetched")):
            path = mark.with_name(mark.name.removeprefix(".").removesuffix(".fetched"))
            if path not in kept:
                for file in (path, _checked(path), mark):
                    file.unlink(missing_ok=True)

    def _is_present(self, model: Model) -> bool:
        """Whether the file is there and correct; it is hashed unless it was checked before."""
        path = self.root / model.path
        if not path.is_file() or path.stat().st_size != model.bytes:
            return False
        if _checked(path).is_file() and _checked(path).read_text() == _identity(path, model):
            return True
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != model.sha256:
                return False
        _checked(path).write_text(_identity(path, model))
        return True

    def _require_space(self, missing: Sequence[Model]) -> None:
        needed, free = sum(m.bytes for m in missing), shutil.disk_usage(self.root).free
        if needed > free:
            raise ModelsUnusable(f"models of {needed:,} bytes do not fit into {free:,} bytes")

    def _fetch_all(self, pool: ThreadPoolExecutor, models: Sequence[Model], stop: Event) -> None:
        """Fetch all models in parallel, on the pool. The first failure stops the others."""
        fetching = [pool.submit(self._fetch, model, stop) for model in models]
        done, _ = wait(fetching, return_when=FIRST_EXCEPTION)
        errors = [error for fetch in done if (error := fetch.exception()) is not None]
        if errors:
            stop.set()
            raise errors[0]

    def _fetch(self, model: Model, stop: Event) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                return self._fetch_once(model, stop)
            except ModelMissing as error:
                raise ModelsUnusable(f"{error} is missing, or may not be read") from error
            except Unavailable as error:
                if not tries_left:
                    raise ModelsUnusable(f"{model.key}: {error}") from error
                extra = {"action": "model_again", "key": model.key}
                _log.warning("model is fetched again", extra=extra)
            if stop.wait(self.pause_seconds):
                raise _Stopped
        return None

    def _fetch_once(self, model: Model, stop: Event) -> None:
        path = self.root / model.path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            self._download(model, part, stop)
            _checked(path).unlink(missing_ok=True)
            _fetched(path).touch()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _checked(path).write_text(_identity(path, model))

    def _download(self, model: Model, part: Path, stop: Event) -> None:
        size, digest = 0, hashlib.sha256()
        with part.open("wb") as file:
            for chunk in self.store.read(model.key):
                if stop.is_set():
                    raise _Stopped
                size += len(chunk)
                if size > model.bytes:
                    raise ModelsUnusable(f"{model.key} has more than {model.bytes:,} bytes")
                digest.update(chunk)
                file.write(chunk)
        if (size, digest.hexdigest()) != (model.bytes, model.sha256):
            raise ModelsUnusable(
                f"{model.key} has {size:,} bytes with the SHA-256 {digest.hexdigest()}; "
                f"the lock says {model.bytes:,} with {model.sha256}"
            )


def _checked(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _fetched(path: Path) -> Path:
    return path.with_name(f".{path.name}.fetched")


def _identity(path: Path, model: Model) -> str:
    found = path.stat()
    return f"{model.sha256} {found.st_size} {found.st_mtime_ns}\n"
