"""Turn what went wrong into the error that the client sees, and tell whether a retry may help.

The job's own error is final; the engine's is retried. The exception types and texts are those of a
real ComfyUI (tests/recordings) and of its issue tracker.
"""

from __future__ import annotations

from comfyline.service.jobs.job import JobError
from gpu_worker.comfy.http import EngineError, PromptRejected
from gpu_worker.comfy.protocol import PromptFailed
from gpu_worker.inputs import InputMissing

TIMED_OUT = JobError(
    type="execution_timeout", message="The job ran longer than its execution timeout."
)
ENGINE_LOST = JobError(
    type="engine_lost", message="ComfyUI stopped, or was restarted, while it ran this job."
)

# exception_type as ComfyUI spells it -> the stable error type that clients see
_ENGINE_TYPES = {
    "torch.OutOfMemoryError": "out_of_memory",
    "torch.cuda.OutOfMemoryError": "out_of_memory",
    "torch.AcceleratorError": "gpu_error",
}
# For a plain RuntimeError only the text shows which fault it is.
_ENGINE_TEXTS = {
    "CUDA out of memory": "out_of_memory",
    "Allocation on device": "out_of_memory",
    "CUDA error": "gpu_error",
    "DefaultCPUAllocator: can't allocate memory": "out_of_memory",
}


def engine_fault(outcome: PromptFailed) -> str | None:
    """The error type if the engine is at fault, so that another try may succeed; else None."""
    by_text = (kind for text, kind in _ENGINE_TEXTS.items() if text in outcome.message)
    return _ENGINE_TYPES.get(outcome.type) or next(by_text, None)


def breaks_engine(outcome: PromptFailed) -> bool:
    """Whether the engine must restart: after a CUDA error every later prompt may fail too."""
    return engine_fault(outcome) == "gpu_error"


def job_error_of(outcome: PromptFailed) -> JobError:
    """The error with the node, its class and the node's message."""
    kind = engine_fault(outcome) or "node_error"
    text = outcome.message if kind != "node_error" else f"{outcome.type}: {outcome.message}"
    return JobError(type=kind, message=text, node_id=outcome.node_id, node_type=outcome.node_type)


def rejection_error(rejected: PromptRejected) -> JobError:
    """The error of a graph that this engine refuses: the first node and input that are wrong."""
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


def input_error(missing: InputMissing) -> JobError:
    """The error of an upload that does not exist any more, with the node and input that use it."""
    where = missing.reference
    message = f"Input {where.input}: {missing}"
    return JobError(
        type="input_missing", message=message, node_id=where.node, node_type=where.node_type
    )


def engine_error(error: EngineError) -> JobError:
    """The error of an engine that answered, but not as ComfyUI does."""
    return JobError(type="engine_error", message=str(error))
