"""How an attempt ends, over the whole cross product of results, reasons and starts."""

from __future__ import annotations

import errno
from itertools import product

import pytest

from comfyline.contract.ids import UploadId
from comfyline.service.errors import Unavailable
from comfyline.service.graphs.uploads import Reference
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
from gpu_worker.comfy.http import EngineError, EngineGone, EngineUnreachable, PromptRejected
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.comfy.outcomes import (
    PicturesLost,
    PromptFailed,
    PromptInterrupted,
    PromptLost,
    PromptQueuedPrompts,
    PromptSucceeded,
)
from gpu_worker.inputs import InputMissing
from gpu_worker.machine_faults import FaultKind
from gpu_worker.stop import StopReason
from gpu_worker.verdict import FAULTS, NotStored, Result, Suspected, judged, verdict

CANCEL, TIMEOUT = StopReason.CANCEL, StopReason.TIMEOUT
DRAIN, LEASE_LOST = StopReason.DRAIN, StopReason.LEASE_LOST
OUT_OF_DISK = StopReason.OUT_OF_DISK
REASONS = (None, CANCEL, TIMEOUT, DRAIN, OUT_OF_DISK, LEASE_LOST)

UPLOAD = Reference("1", "LoadImage", "image", UploadId("upl_" + "0" * 26))
RESULTS: dict[str, Result] = {
    "succeeded": PromptSucceeded(),
    "cached": PromptSucceeded(cached=True),
    "not_stored": NotStored(),
    "node_error": PromptFailed(type="ValueError", message="bad"),
    "out_of_memory": PromptFailed(type="torch.OutOfMemoryError", message="Allocation on device"),
    "queued_prompts": PromptQueuedPrompts(node_id="1", node_type="VHS_BatchManager"),
    "pictures_lost": PicturesLost(node_id="2", node_type="SaveImageWebsocket"),
    "interrupted": PromptInterrupted(),
    "lost": PromptLost(),
    "unknown": None,
    "rejected": PromptRejected("missing_node_type", "Node 'X' not found.", []),
    "input_missing": InputMissing(UPLOAD),
    "engine_error": EngineError("GET /queue answered 500"),
    "unreachable": EngineUnreachable("late"),
    "gone": EngineGone("refused"),
    "crash_loop": EngineCrashLoop("ended 5 times"),
    "unavailable": Unavailable("throttled"),
    "disk_full": OSError(errno.ENOSPC, "No space left on device"),
    "no_memory": MemoryError(),
    "other_os_error": OSError(errno.ENAMETOOLONG, "File name too long"),
}

# Results that decide without regard to the reason: the ending, and the type of its error.
BY_ITSELF = {
    "succeeded": "Succeed",
    "cached": "Succeed",
    "not_stored": "GiveBack",
    "node_error": "Fail node_error",
    "out_of_memory": "Suspected out_of_memory",
    "queued_prompts": "Fail queues_prompts",
    "pictures_lost": "Retry engine_error",
    "rejected": "Fail missing_node_type",
    "input_missing": "Fail input_missing",
    "engine_error": "Retry engine_error",
    "unreachable": "GiveBack",
    "gone": "GiveBack",
    "crash_loop": "GiveBack",
    "unavailable": "GiveBack",
    "disk_full": "Suspected out_of_disk",
    "no_memory": "Suspected out_of_memory",
    "other_os_error": "Retry worker_error",
}
# The other results, with each reason: the ending before the start, and the ending after it.
STOPPED = {
    ("interrupted", None): ("GiveBack", "RetryAfterFault node_error"),
    ("interrupted", CANCEL): ("EndCanceled", "EndCanceled"),
    ("interrupted", TIMEOUT): ("Fail execution_timeout", "Fail execution_timeout"),
    ("interrupted", DRAIN): ("GiveBack", "GiveBack"),
    ("interrupted", OUT_OF_DISK): ("Suspected out_of_disk", "Suspected out_of_disk"),
    ("lost", None): ("GiveBack", "Suspected engine_lost"),
    ("lost", CANCEL): ("EndCanceled", "EndCanceled"),
    ("lost", TIMEOUT): ("Fail execution_timeout", "Fail execution_timeout"),
    ("lost", DRAIN): ("GiveBack", "GiveBack"),
    ("lost", OUT_OF_DISK): ("Suspected out_of_disk", "Suspected out_of_disk"),
    ("unknown", None): ("GiveBack", "Suspected engine_lost"),
    ("unknown", CANCEL): ("GiveBack", "GiveBack"),  # a drain came after the cancel
    ("unknown", TIMEOUT): ("Fail execution_timeout", "Fail execution_timeout"),
    ("unknown", DRAIN): ("GiveBack", "GiveBack"),
    ("unknown", OUT_OF_DISK): ("Suspected out_of_disk", "Suspected out_of_disk"),
}

EVERY_COMBINATION = list(product(RESULTS, REASONS, (False, True)))


def expected(result: str, reason: StopReason | None, *, has_started: bool) -> str:
    if reason is LEASE_LOST:
        return "nothing"
    return BY_ITSELF.get(result) or STOPPED[result, reason][has_started]


def described(ending: Ending | Suspected | None) -> str:
    match ending:
        case None:
            return "nothing"
        case Fail(error) | Retry(error) | Suspected(error) | RetryAfterFault(error):
            return f"{type(ending).__name__} {error.type}"
        case Succeed() | GiveBack() | EndCanceled():
            return type(ending).__name__


@pytest.mark.parametrize(("result", "reason", "has_started"), EVERY_COMBINATION)
def test_each_combination_has_its_ending(
    result: str, reason: StopReason | None, has_started: bool
) -> None:
    ending = verdict(RESULTS[result], reason, has_started=has_started)
    assert described(ending) == expected(result, reason, has_started=has_started)


@pytest.mark.parametrize("cached", [True, False])
def test_a_success_says_what_was_cached(cached: bool) -> None:
    outcome = PromptSucceeded(cached=cached, nodes_cached=frozenset({"1", "2"}))
    assert verdict(outcome, None, has_started=True) == Succeed(cached, 2)


@pytest.mark.parametrize("outcome", [PromptInterrupted, PromptLost])
@pytest.mark.parametrize("reason", [None, TIMEOUT])
def test_an_error_without_an_outcome_of_its_own_names_the_node_that_ran_last(
    outcome: type[PromptInterrupted | PromptLost], reason: StopReason | None
) -> None:
    ending = verdict(outcome(node_id="7", node_type="KSampler"), reason, has_started=True)
    assert isinstance(ending, Fail | Suspected | RetryAfterFault)
    assert (ending.error.node_id, ending.error.node_type) == ("7", "KSampler")


def test_every_fault_and_every_reason_is_in_the_table() -> None:
    assert {type(result) for result in RESULTS.values()} > {*FAULTS}
    assert {*REASONS} == {None, *StopReason}


def test_an_engine_that_used_too_much_memory_makes_that_the_error_of_its_prompt() -> None:
    ending = verdict(PromptLost(), None, has_started=True, end_reason="out_of_memory")
    assert described(ending) == "Suspected out_of_memory"
    ahead = verdict(PromptLost(), None, has_started=False, end_reason="out_of_memory")
    assert described(ahead) == "GiveBack"


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_of_the_job_says_what_to_do_and_a_fault_of_the_worker_does_not(
    kind: FaultKind,
) -> None:
    error = JobError(type=kind.value, message="the text", node_id="5", node_type="KSampler")
    of_job, of_worker = (judged(Suspected(error), is_healthy=h) for h in (True, False))
    assert isinstance(of_job, RetryAfterFault)
    assert of_job.is_healthy
    assert of_job.error.message.endswith("ComfyUI reported: the text")
    assert (of_job.error.type, of_job.error.node_id) == (kind.value, "5")
    assert of_worker == RetryAfterFault(error, is_healthy=False)
