"""How an attempt ends, as one table that is read from the top. Pure: no I/O, no asyncio.

A lost lease comes first, because such an attempt must write nothing. Then come the prompts that
ended by themselves and the errors: they decide even if a stop was requested meanwhile. The reason
to stop decides only for a prompt that did not end by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from comfyline.service.errors import Unavailable
from comfyline.service.jobs.finish import EndCanceled, Ending, Fail, GiveBack, Retry, Succeed
from gpu_worker.comfy.http import EngineError, EngineUnreachable, PromptRejected
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.comfy.protocol import (
    Outcome,
    PromptFailed,
    PromptInterrupted,
    PromptLost,
    PromptSucceeded,
)
from gpu_worker.faults import (
    ENGINE_LOST,
    TIMED_OUT,
    engine_error,
    engine_fault,
    input_error,
    job_error_of,
    rejection_error,
)
from gpu_worker.inputs import InputMissing
from gpu_worker.stop import StopReason

# What may be raised instead of an outcome, or while files are stored and the ending is written.
Fault = (
    PromptRejected | InputMissing | EngineError | EngineUnreachable | EngineCrashLoop | Unavailable
)
FAULTS: tuple[type[Fault], ...] = get_args(Fault)


@dataclass(frozen=True, slots=True)
class NotStored:
    """The prompt succeeded, but a hurry left no time to store its files."""


# None: a hurry left no time to learn what became of the prompt.
Result = Outcome | NotStored | Fault | None


def verdict(result: Result, reason: StopReason | None, *, has_started: bool) -> Ending | None:
    """The ending of an attempt; None if nothing may be written, because the lease is lost.

    `reason`: why the job was to stop. `has_started`: ComfyUI had begun to execute the prompt.
    """
    match result, reason:
        case _, StopReason.LEASE_LOST:
            return None

        case PromptSucceeded(cached=cached), _:
            return Succeed(cached)
        case PromptFailed() as failed, _:
            error = job_error_of(failed)
            return Retry(error) if engine_fault(failed) else Fail(error)
        case PromptRejected() as rejected, _:
            return Fail(rejection_error(rejected))
        case InputMissing() as missing, _:
            return Fail(input_error(missing))
        case EngineError() as error, _:
            return Retry(engine_error(error))
        case EngineUnreachable() | EngineCrashLoop() | Unavailable() | NotStored(), _:
            return GiveBack()

        case _, StopReason.TIMEOUT:
            return Fail(TIMED_OUT)
        case PromptInterrupted() | PromptLost(), StopReason.CANCEL:
            return EndCanceled()
        case _, StopReason.CANCEL | StopReason.DRAIN:
            return GiveBack()

        # Nothing asked for a stop, so the engine has died or was restarted. A prompt that only
        # waited in it did not cause that.
        case _:
            return Retry(ENGINE_LOST) if has_started else GiveBack()
