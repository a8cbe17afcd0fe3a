"""Turn what went wrong into the error that the client sees.

The exception types and texts are those of a real ComfyUI (tests/recordings) and of its issue
tracker; `machine_faults.py` has those that may be a machine's.
"""

from __future__ import annotations

from dataclasses import replace

from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.text_to_image import FORM_CLASSES
from comfyline.service.graphs.validate import forbidden_class
from comfyline.service.jobs.job import JobError
from gpu_worker.comfy.http import EngineError, PromptRejected
from gpu_worker.comfy.outcomes import (
    NodeProblem,
    PicturesLost,
    PromptFailed,
    PromptInterrupted,
    PromptLost,
    PromptQueuedPrompts,
)
from gpu_worker.inputs import InputMissing
from gpu_worker.machine_faults import FaultKind, kind_of_error, kind_of_failure

TIMED_OUT = JobError(
    type="execution_timeout", message="The job ran longer than its execution timeout."
)
DISK_FILLED = JobError(
    type=FaultKind.OUT_OF_DISK, message="The job left too little free space on the worker's disk."
)
ENGINE_LOST = JobError(
    type="engine_lost", message="ComfyUI stopped, or was restarted, while it ran this job."
)

INTERRUPTED = JobError(
    type="node_error", message="The workflow was interrupted by one of its nodes."
)


def job_error_of(outcome: PromptFailed) -> JobError:
    """The error with the node, its class and the node's message."""
    kind = kind_of_failure(outcome.type, outcome.message)
    text = outcome.message if kind else f"{outcome.type}: {outcome.message}"
    return JobError(
        type=kind.value if kind else "node_error",
        message=text,
        node_id=outcome.node_id,
        node_type=outcome.node_type,
    )


def lost_error(end_reason: str) -> JobError:
    """The error of a prompt that ran when the engine ended, for that reason."""
    if end_reason == FaultKind.OUT_OF_MEMORY:
        return JobError(type=end_reason, message="The process used more memory than it may use.")
    return ENGINE_LOST


def worker_error(error: OSError | MemoryError) -> JobError:
    """The error of a worker that cannot handle the files of a job. It shows no path."""
    kind, text = kind_of_error(error), getattr(error, "strerror", None) or type(error).__name__
    return JobError(
        type=kind.value if kind else "worker_error",
        message=f"The worker could not handle the job's files: {text}.",
    )


def at_last_node(error: JobError, result: object) -> JobError:
    """The error with the node that ran last, if the prompt's outcome knows one."""
    match result:
        case (
            PromptInterrupted(node_id=node, node_type=kind)
            | PromptLost(node_id=node, node_type=kind)
        ):
            return replace(error, node_id=node, node_type=kind)
    return error


def queued_prompts_error(outcome: PromptQueuedPrompts) -> JobError:
    """The error of a graph that queues further prompts, as VHS_BatchManager does."""
    return JobError(
        type="queues_prompts",
        message=(
            "The workflow queues further prompts by itself. They were removed, because this"
            " deployment runs only the prompt of the job. Make the whole result in one prompt."
        ),
        node_id=outcome.node_id,
        node_type=outcome.node_type,
    )


def pictures_error(outcome: PicturesLost) -> JobError:
    """The error of pictures that were sent while the worker could not receive them."""
    return JobError(
        type="engine_error",
        message="The connection to ComfyUI broke while a node sent pictures over it.",
        node_id=outcome.node_id,
        node_type=outcome.node_type,
    )


def rejection_error(rejected: PromptRejected) -> JobError:
    """The error of a graph that this engine refuses: the first node and input that are wrong."""
    if not rejected.problems:
        return JobError(type=rejected.type, message=rejected.message)
    first = rejected.problems[0]
    return JobError(
        type=first.type,
        message=first.text,
        node_id=first.node_id,
        node_type=first.node_type,
    )


def refuse_forbidden_classes(graph: Graph, catalogue: Catalogue) -> None:
    """Refuse a graph that this worker's own lock forbids: the API may have had another lock.

    Raises:
        PromptRejected: it names the first node of a class that is not allowed.
    """
    # The row does not say whether the graph was made from the parameter form.
    forbidden = ((n, c) for n, c in catalogue.forbidden(graph) if c not in FORM_CLASSES)
    for node_id, class_type in forbidden:
        message = forbidden_class(class_type)
        problem = NodeProblem(node_id, class_type, "node_not_allowed", message)
        raise PromptRejected(problem.type, message, [problem])


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
