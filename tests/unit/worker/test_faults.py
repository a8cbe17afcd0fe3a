"""Whose fault it is: recorded failures and those of issue trackers, one line each."""

from __future__ import annotations

import pytest

from comfyline.service.jobs.job import MAX_ERROR_MESSAGE, JobError
from gpu_worker.comfy.history import outcome_of
from gpu_worker.comfy.http import EngineError, PromptRejected
from gpu_worker.comfy.outcomes import NodeProblem, PromptFailed
from gpu_worker.faults import engine_error, job_error_of, rejection_error


@pytest.mark.parametrize(
    ("exception_type", "message"),
    [
        ("PIL.UnidentifiedImageError", "cannot identify image file"),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied"),
        ("Exception", "Saving image outside the output folder is not allowed"),
        ("ValueError", ""),
    ],
)
def test_the_jobs_own_errors_are_final_and_named(exception_type: str, message: str) -> None:
    failed = PromptFailed(type=exception_type, message=message, node_id="9", node_type="SaveImage")
    error = job_error_of(failed)
    assert (error.type, error.message) == ("node_error", f"{exception_type}: {message}")


def test_a_rejection_names_the_first_node_and_its_input() -> None:
    problem = NodeProblem(
        node_id="5",
        node_type="KSampler",
        type="value_not_in_list",
        message="Value not in list: sampler_name",
        input_name="sampler_name",
    )
    error = rejection_error(PromptRejected("prompt_outputs_failed_validation", "no", [problem]))
    assert (error.type, error.node_id, error.node_type) == ("value_not_in_list", "5", "KSampler")
    assert error.message.endswith("(input sampler_name)")


def test_a_rejection_without_a_node_keeps_its_own_message() -> None:
    error = rejection_error(PromptRejected("missing_node_type", "Node 'X' not found.", []))
    assert (error.type, error.message, error.node_id) == (
        "missing_node_type",
        "Node 'X' not found.",
        None,
    )


def test_a_refusal_that_repeats_the_callers_value_is_cut() -> None:
    message = f"width, {'A' * 450_000}, invalid literal for int() with base 10"
    problem = NodeProblem("1" * 999, "X" * 999, "invalid_input_type" * 99, message, "w" * 999)
    rejected = PromptRejected("prompt_outputs_failed_validation" * 99, message, [problem])
    for error in (
        rejection_error(rejected),
        rejection_error(PromptRejected("no_prompt" * 99, message, [])),
        engine_error(EngineError(message)),
    ):
        assert len(error.message) == MAX_ERROR_MESSAGE
        assert error.message.startswith(message[:900])
        assert len(repr(error)) < 2_000


def test_the_texts_of_a_failure_are_cut() -> None:
    about = {
        "exception_type": "E" * 10**6,
        "exception_message": "x" * 10**6,
        "node_id": "9" * 10**6,
        "node_type": "N" * 10**6,
    }
    status = {"status_str": "error", "messages": [["execution_error", about]]}
    outcome = outcome_of({"status": status})
    assert isinstance(outcome, PromptFailed)
    assert len(repr(job_error_of(outcome))) < 2_000


def test_a_failure_with_a_long_text_is_known_by_its_beginning() -> None:
    failed = PromptFailed(type="RuntimeError", message="CUDA error: device lost " + "x" * 10**6)
    assert job_error_of(failed) == JobError(
        type="gpu_error", message=("CUDA error: device lost " + "x" * 975) + "…"
    )
