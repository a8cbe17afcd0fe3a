"""Run the engine as a child process: start it, watch it, and start it again.

The engine runs in its own session, and as its own user if one is set. It does not get the worker's
environment variables, so it has no AWS credentials, and it is killed when the worker ends. An
engine that ends before its first answer counts as a failed start. After each failed start in a row
the next one comes later, and after too many the worker itself fails. If an
engine has answered, its end is no failed start, because a prompt may have caused it (health.py).

An engine that uses too much host memory is ended before the kernel has to choose a process.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import pwd
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyline.service.metrics import Metric, Metrics
from gpu_worker import memory
from gpu_worker.activity import ProcessActivity
from gpu_worker.comfy.http import EngineQueue
from gpu_worker.comfy.keeper import ENDED, RECYCLED, EngineCrashLoop
from gpu_worker.confinement import confine
from gpu_worker.machine_faults import FaultKind
from gpu_worker.racing import background

BACKOFF_SECONDS = (0.0, 1.0, 5.0, 15.0, 30.0)  # before a start, by the number of failures in a row
# The environment variables that an engine needs: for programs, drivers and temporary files.
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
MEMORY_SECONDS = 0.25  # between two readings of the engine's memory
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4  # of prctl(2)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When an engine is restarted, and when the worker gives it up."""

    max_failures: int = len(BACKOFF_SECONDS)  # failed starts in a row; then it is a crash loop
    max_prompts: int = 1000  # host memory grows with the history and with leaks of nodes
    max_memory_bytes: int | None = None  # above it, the engine is restarted between two jobs
    memory_limit_bytes: int | None = None  # above it, the engine is ended at once
    may_connect: bool = True  # whether the engine may open outgoing connections


DEFAULT_POLICY = Policy()


class EngineProcess:
    """A `Keeper` of an engine that this worker starts."""

    is_foreign = False
    has_other_workers = False

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
        self._metrics = metrics
        self._process: asyncio.subprocess.Process | None = None  # None while no engine runs
        self._up_or_given_up = asyncio.Event()
        self._is_given_up = False
        self.end_reason = ENDED
        self._restart_reason: str | None = None  # of the restart that was requested last
        self._has_answered = False  # the engine that runs now, or that ran last
        self._failures = 0  # failed starts in a row
        self._prompts = 0  # ended by the engine that runs now
        self._activity = ProcessActivity()

    @property
    def pid(self) -> int | None:
        """The process id of the engine; None while no engine runs."""
        return None if self._process is None else self._process.pid

    async def wait_up(self) -> None:
        """See Keeper."""
        await self._up_or_given_up.wait()
        if self._is_given_up:
            raise EngineCrashLoop(f"the engine ended {self._failures} times before it answered")

    def admits(self, queue: EngineQueue, *, is_idle: bool) -> bool:  # noqa: ARG002 - the port's
        """See Keeper: an engine that is due for a restart gets no more prompts."""
        if not self._is_due():
            return True
        if is_idle:
            self.restart(RECYCLED)
        return False

    async def is_busy(self, window_seconds: float) -> bool:
        """See Keeper: the engine and its children are one session."""
        return self.pid is not None and await self._activity.is_busy(self.pid, window_seconds)

    def restart(self, reason: str) -> None:
        """See Keeper: the process is killed, because ComfyUI cannot drain."""
        _log.warning("engine restarted", extra={"action": "engine_restarted", "why": reason})
        if self._process is not None:
            self._restart_reason = reason
            self._up_or_given_up.clear()
            _kill(self._process)

    def answered(self) -> None:
        """See Keeper."""
        self._has_answered, self._failures = True, 0

    def count_prompt(self) -> None:
        """See Keeper."""
        self._prompts += 1

    def kept(self) -> AbstractAsyncContextManager[None]:
        """Keep an engine running until the block ends, or until it is given up."""
        return background(self._keep_for_ever())

    async def _keep_for_ever(self) -> None:
        while not self._is_given_up:
            await asyncio.sleep(BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)])
            await self._run_once()

    async def _run_once(self) -> None:
        self._prompts, self._has_answered, kills = 0, False, memory.oom_kills()
        try:
            self._process = await self._start()
            self._up_or_given_up.set()
            async with background(self._watch_memory(self._process)):
                await self._process.wait()
        except OSError:
            _log.exception("engine not started", extra={"action": "engine_not_started"})
        finally:
            was_killed = memory.oom_kills() > kills  # by the kernel, because memory was short
            ended = FaultKind.OUT_OF_MEMORY.value if was_killed else ENDED
            self.end_reason, self._restart_reason = self._restart_reason or ended, None
            await self._clean_up()
        self._count_end()

    async def _watch_memory(self, process: asyncio.subprocess.Process) -> None:
        limit = self._policy.memory_limit_bytes
        while limit is not None:
            # The engine leads its own session, to which its children belong.
            used = await asyncio.to_thread(memory.session_bytes, process.pid)
            if used > limit:
                _log.error("engine too big", extra={"action": "engine_too_big", "bytes": used})
                self.restart(FaultKind.OUT_OF_MEMORY.value)
                return
            await asyncio.sleep(MEMORY_SECONDS)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._directory,
            env=self._environ,
            **_identity(self._user),
            start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL,
            preexec_fn=_prepare_process if self._policy.may_connect else _prepare_confined_process,
        )

    async def _clean_up(self) -> None:
        process, self._process = self._process, None
        self._up_or_given_up.clear()
        if process is not None:
            _kill(process)  # together with the processes that it has started
            await process.wait()
            _log.warning(
                "engine ended",
                extra={"action": "engine_ended", "pid": process.pid, "status": process.returncode},
            )
        self.on_end()

    def _count_end(self) -> None:
        self._failures = 0 if self._has_answered else self._failures + 1
        if self._failures >= self._policy.max_failures:
            self._is_given_up = True
            _log.critical("engine crash loop", extra={"action": "engine_crash_loop"})
            self._up_or_given_up.set()
        else:
            self._metrics.record(Metric.ENGINE_RESTARTS, reason=self.end_reason)

    def _is_due(self) -> bool:
        limit = self._policy.max_memory_bytes
        pid = self.pid
        too_big = limit is not None and pid is not None and memory.session_bytes(pid) > limit
        return too_big or self._prompts >= self._policy.max_prompts


def _identity(user: str | None) -> dict[str, Any]:
    """Options that run the engine as `user`, with the user's group and no other.

    Without `extra_groups` the engine would keep the worker's groups.
    """
    if user is None:
        return {}
    group = pwd.getpwnam(user).pw_gid
    # The umask lets the worker remove files that the engine writes into a folder of its group.
    return {"user": user, "group": group, "extra_groups": (), "umask": 0o002}


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _prepare_confined_process() -> None:
    _prepare_process()
    confine()


def _prepare_process() -> None:
    """Runs in the engine's process before the engine does."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends with the worker
    # If memory is short, the kernel must end the engine and not the worker. A process that has
    # changed its user may write its own files in /proc only if it is dumpable.
    prctl(_PR_SET_DUMPABLE, 1)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
