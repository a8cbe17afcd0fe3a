"""The engine as our child process: started, watched, and started again.

It runs in a session of its own, under its own user where one is set, without the worker's
environment (no AWS credentials), and dies with the worker. An engine that ends soon after its start
has failed; failures in a row are spaced out, and too many of them end the worker aloud.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import pwd
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyline.service.metrics import Metric, Metrics
from gpu_worker.comfy.http import EngineQueue
from gpu_worker.comfy.keeper import EngineCrashLoop

BACKOFF_SECONDS = (0.0, 1.0, 5.0, 15.0, 30.0)  # before the n-th start after a failure in a row
# What an engine needs of our environment: where programs, drivers and temporary files are.
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG = 1
_ENDED = "ended"  # nobody has asked for it

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When an engine is started anew, and when that is given up."""

    max_failures: int = len(BACKOFF_SECONDS)  # in a row: a crash loop
    settled_seconds: float = 60.0  # an engine that lived so long, or ended a prompt, is no failure
    max_prompts: int = 1000  # host memory grows with the history and with leaks of nodes
    max_memory_bytes: int | None = None


DEFAULT_POLICY = Policy()


class EngineProcess:
    """A `Keeper` of an engine of our own."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        *,
        environ: Mapping[str, str],
        metrics: Metrics,
        user: str | None = None,
        policy: Policy = DEFAULT_POLICY,
    ) -> None:
        self.on_end: Callable[[], None] = lambda: None
        self._command, self._directory, self._user, self._policy = command, directory, user, policy
        self._environ = {name: environ[name] for name in PASSED_ON if name in environ}
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()  # it is up, or it never will be
        self._is_broken = False
        self._metrics, self._why = metrics, _ENDED
        self._failures = self._prompts = 0

    @property
    def pid(self) -> int | None:
        """Of the engine that runs, if one does."""
        return None if self._process is None else self._process.pid

    async def wait_up(self) -> None:
        """See Keeper."""
        await self._changed.wait()
        if self._is_broken:
            raise EngineCrashLoop(f"the engine ended {self._failures} times right after its start")

    def admits(self, queue: EngineQueue, *, is_idle: bool) -> bool:  # noqa: ARG002 - the port's
        """See Keeper: an engine that is due for a new life gets no more prompts."""
        if not self._is_due():
            return True
        if is_idle:
            self.restart("recycled")
        return False

    def restart(self, why: str) -> None:
        """See Keeper: it is killed, since ComfyUI does not drain."""
        _log.warning("engine restarted", extra={"action": "engine_restarted", "why": why})
        if self._process is not None:
            self._why = why
            self._changed.clear()
            _kill(self._process)

    def count_prompt(self) -> None:
        """See Keeper."""
        self._prompts += 1

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep an engine up until the block ends."""
        keeping = asyncio.create_task(self.keep_for_ever())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def keep_for_ever(self) -> None:
        """Keep an engine up until cancelled, or until it is given up."""
        while not self._is_broken:
            await asyncio.sleep(BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)])
            await self._live()

    async def _live(self) -> None:
        born_at, self._prompts = time.monotonic(), 0
        try:
            self._process = await self._start()
            self._changed.set()
            await self._process.wait()
        except OSError:
            _log.exception("engine not started", extra={"action": "engine_not_started"})
        finally:
            await self._bury()
        self._judge(time.monotonic() - born_at)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._directory,
            env=self._environ,
            **_identity(self._user),
            start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )

    async def _bury(self) -> None:
        process, self._process = self._process, None
        self._changed.clear()
        if process is not None:
            _kill(process)  # what it has started goes with it
            await process.wait()
            _log.warning(
                "engine ended",
                extra={"action": "engine_ended", "pid": process.pid, "status": process.returncode},
            )
        self.on_end()

    def _judge(self, lived_seconds: float) -> None:
        is_settled = lived_seconds >= self._policy.settled_seconds or self._prompts > 0
        self._failures = 0 if is_settled else self._failures + 1
        if self._failures >= self._policy.max_failures:
            self._is_broken = True
            _log.critical("engine crash loop", extra={"action": "engine_crash_loop"})
            self._changed.set()
        else:
            self._metrics.record(Metric.ENGINE_RESTARTS, reason=self._why)
        self._why = _ENDED

    def _is_due(self) -> bool:
        limit = self._policy.max_memory_bytes
        too_big = limit is not None and self.pid is not None and _memory_bytes(self.pid) > limit
        return too_big or self._prompts >= self._policy.max_prompts


def _identity(user: str | None) -> dict[str, Any]:
    """The user whole: with his group and no other, or the engine would keep those of the worker."""
    if user is None:
        return {}
    group = pwd.getpwnam(user).pw_gid
    # What the engine writes into a folder of the worker's group, the worker can remove.
    return {"user": user, "group": group, "extra_groups": (), "umask": 0o002}


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _memory_bytes(pid: int) -> int:
    """Resident memory; 0 if the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
