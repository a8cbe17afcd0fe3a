"""What a caller may ask for when submitting a job, and the request's JSON made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypedDict

from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1 import common


class OutputChoice(TypedDict, total=False):
    """How still pictures are stored; `format` is required."""

    format: common.PictureFormat
    quality: int


class SubmitOptions(TypedDict, total=False):
    """What `submit` takes besides the prompt or the workflow; the service checks the values.

    The options from `negative_prompt` to `batch_size` belong to a prompt; `inputs`, `strict` and
    `extra_data` belong to a workflow.
    """

    negative_prompt: str | None
    width: int | None
    height: int | None
    steps: int | None
    cfg_scale: float | None
    sampler: str | None
    scheduler: str | None
    seed: int | None
    model: str | None
    batch_size: int | None
    inputs: Mapping[str, str] | None
    extra_data: Mapping[str, Any] | None
    priority: common.Priority | None
    start_deadline_seconds: int | None
    execution_timeout_seconds: int | None
    metadata: dict[str, str] | None
    reuse: bool | None
    output: OutputChoice | None
    previews: bool | None
    strict: bool | None


def submission(
    prompt: str | None, workflow: Mapping[str, Any] | None, options: SubmitOptions
) -> dict[str, Any]:
    """The request's body; values that are None are left out.

    Raises:
        TypeError: `prompt` and `workflow` are both given, or both missing.
    """
    if (prompt is None) == (workflow is None):
        raise TypeError("submit() takes either a prompt or a workflow; give exactly one of them")
    given = {"prompt": prompt, "workflow": workflow, **options}
    return {name: value for name, value in given.items() if value is not None}


def job_path(job_id: str) -> str:
    """The job's path in the API.

    Raises:
        ValueError: `job_id` is not a job id. This also keeps slashes and queries out of the path.
    """
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise ValueError(f"{job_id!r} is not a job id: it must be job_ and 26 characters")
    return f"/jobs/{job_id}"


def key_path(key_id: str) -> str:
    """The key's path in the API.

    Raises:
        ValueError: `key_id` is not the id of a key. An id is the part of a key after `cl_`.
    """
    if not re.fullmatch("[0-9a-f]{16}", key_id):
        raise ValueError("that is not the id of a key: it must be 16 hexadecimal digits")
    return f"/keys/{key_id}"
