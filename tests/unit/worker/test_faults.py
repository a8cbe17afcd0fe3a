"""Whose fault it is: recorded failures and those of issue trackers, one line each."""

from __future__ import annotations

import pytest

from gpu_worker.comfy.http import PromptRejected
from gpu_worker.comfy.outcomes import NodeProblem, PromptFailed
from gpu_worker.faults import job_error_of, rejection_error


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
