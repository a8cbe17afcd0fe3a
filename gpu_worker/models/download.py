"""One model on its way from the store to this disk, in parts over several connections.

    parts       0    1    2    3    4    5         each read by one connection, and written in place
    written     ██   ██   █▒   ██   ▒    ·         into .<name>.part, which has its whole size
    hashed      ─────────>                         in order, as far as all parts are complete

The hash reads from the page cache what was just written, so a file is checked when its last part
arrives. A connection that breaks goes on where it was. A process that is killed leaves the complete
parts and their journal, and the next one fetches only the others.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Lock

from comfyline.service.errors import Unavailable
from comfyline.service.files.models import (
    BeyondEnd,
    ModelChanged,
    ModelMissing,
    ModelPart,
    ModelStore,
    PartsUnsupported,
)
from comfyline.service.graphs.lock import Model
from gpu_worker.models.journal import Journal

# S3 answers a request within some 30 ms, so a connection is idle for a tenth of the time at most.
PART_BYTES = 32 * 1024 * 1024
HASHED_BYTES = 1024 * 1024  # at a time
TRIES = 6  # of each part; the pauses between them add up to at most a minute
PAUSE_SECONDS = 2.0  # before the second try of a part; it doubles
STOP_SECONDS = 0.5  # how late a thread that waits for parts learns that it must stop


class ModelsUnusable(Exception):
    """A model cannot be had as the lock describes it, so this worker cannot run jobs."""


class Stopped(Exception):
    """The fetching was stopped from outside."""


class StartAgain(Exception):
    """What was fetched is of no use: the file was replaced meanwhile, or a crash has damaged it."""

    def __init__(self, download: Download, why: str) -> None:
        super().__init__(why)
        self.download = download


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a model is divided, and how long the pauses between tries are."""

    part_bytes: int = PART_BYTES
    pause_seconds: float = PAUSE_SECONDS


DEFAULT_PACE = Pace()


class Download:
    """One model. `fetch` and `hashed` run on threads of the caller, at the same time."""

    def __init__(
        self,
        model: Model,
        target: Path,
        store: ModelStore,
        stop: Event,
        *,
        received: Callable[[int], None] = lambda _bytes: None,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """`received` is called by any thread with the number of bytes of each chunk."""
        self.model = model
        self.path = unfinished(target)
        self._journal = Journal.opened(
            journal_of(target), f"{model.sha256} {model.bytes} {pace.part_bytes}"
        )
        self._store, self._stop, self._received, self._pace = store, stop, received, pace
        self._lock = Lock()  # held while the journal changes
        self._changed = Condition(self._lock)
        self.was_begun = bool(self._journal.complete)  # by an earlier process or try

    @property
    def missing(self) -> list[int]:
        """The numbers of the parts that are not complete."""
        return [part for part in range(self._parts) if part not in self._journal.complete]

    @property
    def missing_bytes(self) -> int:
        """How much is still to be fetched."""
        return sum(end - start for start, end in map(self._range, self.missing))

    @property
    def unallocated(self) -> int:
        """How much of the file has no place on the disk yet, in bytes."""
        try:
            return self.model.bytes - min(512 * self.path.stat().st_blocks, self.model.bytes)
        except FileNotFoundError:
            return self.model.bytes

    @property
    def _parts(self) -> int:
        return -(-self.model.bytes // self._pace.part_bytes)

    def _range(self, part: int) -> tuple[int, int]:
        start = part * self._pace.part_bytes
        return start, min(start + self._pace.part_bytes, self.model.bytes)

    def allocate(self) -> None:
        """Give the file its whole size, so that a full disk is known before the first byte.

        Raises:
            OSError: the disk is full.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.was_begun or not self.path.exists():
            self.discard()
        with _opened(self.path, os.O_WRONLY | os.O_CREAT) as file:
            os.ftruncate(file, self.model.bytes)
            os.posix_fallocate(file, 0, self.model.bytes)

    def discard(self) -> None:
        """Remove everything that was fetched."""
        self.path.unlink(missing_ok=True)
        self._journal.path.unlink(missing_ok=True)
        self._journal = Journal(self._journal.path, self._journal.file)
        self.was_begun = False

    # --- a part -----------------------------------------------------------------------------------

    def fetch(self, part: int) -> None:
        """Fetch one part. It is tried again after an error, from where it was.

        Raises:
            ModelsUnusable: the file is missing, has another size, or cannot be reached.
            StartAgain: the file was replaced.
            Stopped: `stop` was set.
            OSError: the disk is full, or broken.
        """
        at, end = self._range(part)
        for tries in range(TRIES):
            try:
                at = self._read(at, end)
            except ModelMissing as error:
                raise ModelsUnusable(f"{error} is missing, or may not be read") from error
            except ModelChanged as error:
                raise StartAgain(self, str(error)) from error
            except BeyondEnd as error:
                raise self._wrong_size(f"at most {at:,}") from error
            except PartsUnsupported as error:
                raise ModelsUnusable(str(error)) from error
            except _Broken as broken:
                at = broken.at
                if tries == TRIES - 1:
                    raise ModelsUnusable(f"{self.model.key}: {broken}, {TRIES} times") from broken
                self._pause(tries)
                continue
            break
        with self._changed:
            self._journal.add(part)
            self._changed.notify_all()

    def _read(self, at: int, end: int) -> int:
        """Read the bytes from `at` on into the file; returns `end`."""
        version = self._journal.version
        try:
            with (
                self._store.open(self.model.key, at, end, version) as opened,
                _opened(self.path, os.O_WRONLY) as file,
            ):
                self._check(opened)
                for chunk in opened.chunks:
                    if self._stop.is_set():
                        raise Stopped
                    fitting = chunk[: end - at]  # no answer may reach into the next part
                    _write(file, fitting, at)
                    at += len(fitting)
                    self._received(len(fitting))
        except Unavailable as error:
            if at < end:
                raise _Broken(str(error), at) from error
        if at < end:
            raise _Broken("the answer ended early", at)
        return at

    def _check(self, opened: ModelPart) -> None:
        """
        Raises:
            ModelsUnusable: the file has another size than the lock says.
            StartAgain: another connection reads another version of the file.
        """
        if opened.size != self.model.bytes:
            raise self._wrong_size(f"{opened.size:,}")
        with self._lock:
            if self._journal.version is None:
                self._journal.begin(opened.version)
            elif opened.version != self._journal.version:
                raise StartAgain(self, f"{self.model.key} was replaced")

    def _wrong_size(self, found: str) -> ModelsUnusable:
        return ModelsUnusable(
            f"{self.model.key} has {found} bytes; the lock says {self.model.bytes:,}"
        )

    def _pause(self, tries: int) -> None:
        # Spread, or all connections that a short fault has broken would come back at once.
        longest = self._pace.pause_seconds * 2**tries
        if self._stop.wait(random.uniform(longest / 2, longest)):
            raise Stopped

    # --- the whole --------------------------------------------------------------------------------

    def hashed(self) -> None:
        """Hash the parts as they become complete, and return once the file is proven correct.

        Raises:
            ModelsUnusable: the file is not the one that the lock describes. It is removed.
            StartAgain: the same, but parts of an earlier process may be what is wrong.
            Stopped: `stop` was set.
            OSError: the disk is broken.
        """
        digest = hashlib.sha256()
        with _opened(self.path, os.O_RDONLY) as file:
            for part in range(self._parts):
                self._wait_for(part)
                self._hash(file, *self._range(part), digest.update)
        if digest.hexdigest() == self.model.sha256:
            return
        was_begun = self.was_begun
        self.discard()
        problem = (
            f"{self.model.key} has the SHA-256 {digest.hexdigest()}; "
            f"the lock says {self.model.sha256}"
        )
        raise StartAgain(self, problem) if was_begun else ModelsUnusable(problem)

    def _hash(self, file: int, start: int, end: int, update: Callable[[bytes], None]) -> None:
        for at in range(start, end, HASHED_BYTES):
            if self._stop.is_set():
                raise Stopped
            update(os.pread(file, min(HASHED_BYTES, end - at), at))

    def _wait_for(self, part: int) -> None:
        with self._changed:
            while part not in self._journal.complete:
                self._changed.wait(STOP_SECONDS)
                if self._stop.is_set():
                    raise Stopped

    def finish(self, target: Path) -> None:
        """Move the file that was proven correct to its place."""
        self.path.replace(target)
        self._journal.path.unlink(missing_ok=True)


class _Broken(Exception):
    """A connection ended before its part did."""

    def __init__(self, why: str, at: int) -> None:
        super().__init__(why)
        self.at = at  # the first byte that is missing


def unfinished(target: Path) -> Path:
    """The file that becomes `target`."""
    return target.with_name(f".{target.name}.part")


def journal_of(target: Path) -> Path:
    """The journal of the unfinished file."""
    return target.with_name(f".{target.name}.parts")


def _write(file: int, chunk: bytes, at: int) -> None:
    left = memoryview(chunk)
    while left:
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, 0o644)
    try:
        yield file
    finally:
        os.close(file)
