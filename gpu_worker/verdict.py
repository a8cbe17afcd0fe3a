"""How an attempt ends, as one table that is read from the top. Pure: no I/O, no asyncio.

A lost lease comes first, because such an attempt must write nothing. Then come the prompts that
ended by themselves and the errors: they decide even if a stop was requested meanwhile. The reason
to stop decides only for a prompt that did not end by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from comfyline.service.errors import Unavailable
from comfyline.service.jobs.finish import (
    EndCanceled,
    Ending,
    Fail,
    GiveBack,
    Retry,
    RetryAfterFault,
    Succeed,
)
from comfyline.service.jobs.job import JobError
from gpu_worker.comfy.http import EngineError, EngineUnreachable, PromptRejected
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.comfy.outcomes import (
    Outcome,
    PicturesLost,
    PromptFailed,
    PromptInterrupted,
    PromptLost,
    PromptQueuedPrompts,
    PromptSucceeded,
)
from gpu_worker.faults import (
    DISK_FILLED,
    INTERRUPTED,
    TIMED_OUT,
    at_last_node,
    engine_error,
    input_error,
    job_error_of,
    lost_error,
    pictures_error,
    queued_prompts_error,
    rejection_error,
    worker_error,
)
from gpu_worker.inputs import InputMissing
from gpu_worker.machine_faults import FaultKind, with_advice
from gpu_worker.stop import StopReason

# What may be raised instead of an outcome, or while files are stored and the ending is written.
Fault = (
    PromptRejected
    | InputMissing
    | EngineError
    | EngineUnreachable
    | EngineCrashLoop
    | Unavailable
    | OSError
    | MemoryError
)
FAULTS: tuple[type[Fault], ...] = get_args(Fault)
_FAULT_TYPES = frozenset(FaultKind)


@dataclass(frozen=True, slots=True)
class NotStored:
    """The prompt succeeded, but the worker had to stop before its files were stored."""


@dataclass(frozen=True, slots=True)
class Suspected:
    """Disk, memory or GPU failed, or the engine ended: a probe must show if the machine did it."""

    error: JobError  # its type is a FaultKind
    engine_has_ended: bool = False  # its process, so that it need not be ended again


# None: the worker had to stop before the outcome of the prompt was known.
Result = Outcome | NotStored | Fault | None


def verdict(
    result: Result, reason: StopReason | None, *, has_started: bool, end_reason: str = ""
) -> Ending | Suspected | None:
    """The ending of an attempt; None if nothing may be written, because the lease is lost.

    `reason`: why the job was to stop. `has_started`: ComfyUI had begun to execute the prompt.
    `end_reason`: why the engine's process ended last.
    """
    match result, reason:
        case _, StopReason.LEASE_LOST:
            return None

        case PromptSucceeded(cached=cached, nodes_cached=nodes), _:
            return Succeed(cached, len(nodes))
        case PromptFailed() as failed, _:
            return _suspected(job_error_of(failed)) or Fail(job_error_of(failed))
        case PromptQueuedPrompts() as queued, _:
            return Fail(queued_prompts_error(queued))
        case PicturesLost() as lost, _:
            return Retry(pictures_error(lost))
        case PromptRejected() as rejected, _:
            return Fail(rejection_error(rejected))
        case InputMissing() as missing, _:
            return Fail(input_error(missing))
        case EngineError() as error, _:
            return Retry(engine_error(error))
        case EngineUnreachable() | EngineCrashLoop() | Unavailable() | NotStored(), _:
            return GiveBack()
        case (OSError() | MemoryError()) as error, _:
            return _suspected(worker_error(error)) or Retry(worker_error(error))

        case _, StopReason.OUT_OF_DISK:
            return Suspected(at_last_node(DISK_FILLED, result), engine_has_ended=True)
        case _, StopReason.TIMEOUT:
            return Fail(at_last_node(TIMED_OUT, result))
        case PromptInterrupted() | PromptLost(), StopReason.CANCEL:
            return EndCanceled()
        case _, StopReason.CANCEL | StopReason.DRAIN:
            return GiveBack()

        # Mostly a node that stops its workflow, as some packs offer. The worker may have missed a
        # strange prompt and hit this one, so that it is tried once more.
        case PromptInterrupted(), _ if has_started:
            return RetryAfterFault(at_last_node(INTERRUPTED, result), is_healthy=True)

        # Nothing asked for a stop, so the engine has died or was restarted. A prompt that only
        # waited in it did not cause that.
        case _:
            cause = at_last_node(lost_error(end_reason), result)
            return Suspected(cause, engine_has_ended=True) if has_started else GiveBack()


def _suspected(error: JobError) -> Suspected | None:
    return Suspected(error) if error.type in _FAULT_TYPES else None


def judged(suspected: Suspected, *, is_healthy: bool) -> Ending:
    """The ending of an attempt after the probe of its worker."""
    error = with_advice(suspected.error) if is_healthy else suspected.error
    return RetryAfterFault(error, is_healthy)
