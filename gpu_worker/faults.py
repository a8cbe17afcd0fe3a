"""Whose fault an attempt's end is: the job's own error is final, the engine's is tried again.

The kinds and their texts are those of a real ComfyUI (tests/recordings) and of its issue tracker.
"""

from __future__ import annotations

from comfyline.service.jobs.job import JobError
from gpu_worker.comfy.http import PromptRejected
from gpu_worker.comfy.protocol import Failed
from gpu_worker.inputs import InputMissing

TIMED_OUT = JobError(
    type="execution_timeout", message="The job ran longer than its execution timeout."
)
ENGINE_LOST = JobError(
    type="engine_lost", message="ComfyUI stopped, or was restarted, while it ran this job."
)

# exception_type as ComfyUI spells it -> an error type that is ours and stable
_ENGINE_TYPES = {
    "torch.OutOfMemoryError": "out_of_memory",
    "torch.cuda.OutOfMemoryError": "out_of_memory",
    "torch.AcceleratorError": "gpu_error",
}
# Where the type is a plain RuntimeError, only the text tells.
_ENGINE_TEXTS = {
    "CUDA out of memory": "out_of_memory",
    "Allocation on device": "out_of_memory",
    "CUDA error": "gpu_error",
    "DefaultCPUAllocator: can't allocate memory": "out_of_memory",
}


def engine_fault(outcome: Failed) -> str | None:
    """The kind of fault if it is the engine's, which another try may not meet; else None."""
    if outcome.type in _ENGINE_TYPES:
        return _ENGINE_TYPES[outcome.type]
    for text, kind in _ENGINE_TEXTS.items():
        if text in outcome.message:
            return kind
    return None


def retry_is_of_use(outcome: Failed) -> bool:
    """The engine's fault, not the job's."""
    return engine_fault(outcome) is not None


def breaks_engine(outcome: Failed) -> bool:
    """After a CUDA error the context may be unusable, and every later prompt would fail too."""
    return engine_fault(outcome) == "gpu_error"


def input_error(missing: InputMissing) -> JobError:
    """A file that the job needs is gone, with the node and input that take it."""
    where = missing.reference
    message = f"Input {where.input}: {missing}"
    return JobError(
        type="input_missing", message=message, node_id=where.node, node_type=where.node_type
    )


def job_error_of(outcome: Failed) -> JobError:
    """The error as the client sees it: the node, its class, and what it said."""
    kind = engine_fault(outcome) or "node_error"
    text = outcome.message if kind != "node_error" else f"{outcome.type}: {outcome.message}"
    return JobError(type=kind, message=text, node_id=outcome.node_id, node_type=outcome.node_type)


def rejection_error(rejected: PromptRejected) -> JobError:
    """A graph that this engine refuses: the first node, its input and what is wrong with it."""
    if not rejected.problems:
        return JobError(type=rejected.type, message=rejected.message)
    first = rejected.problems[0]
    place = f" (input {first.input_name})" if first.input_name else ""
    return JobError(
        type=first.type,
        message=first.message + place,
        node_id=first.node_id,
        node_type=first.node_type,
    )
