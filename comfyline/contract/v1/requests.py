"""The bodies that a caller of API v1 sends.

Requests forbid unknown fields and coerce nothing, so that a misspelt option is an error and is
never ignored.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from comfyline.contract.limits import (
    MAX_EXECUTION_TIMEOUT_SECONDS,
    MAX_INPUTS,
    MAX_METADATA_BYTES,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    MAX_START_DEADLINE_SECONDS,
    MAX_UPLOAD_BYTES,
)
from comfyline.contract.v1.common import (
    Metadata,
    PictureFormat,
    Priority,
    Request,
)


class OutputOptions(Request):
    """How still pictures are stored; whatever else a workflow makes stays as it is."""

    format: PictureFormat
    quality: int = Field(90, ge=1, le=100)


class _JobOptions(Request):
    priority: Priority = "normal"
    start_deadline_seconds: int | None = Field(None, ge=1, le=MAX_START_DEADLINE_SECONDS)
    execution_timeout_seconds: int | None = Field(None, ge=1, le=MAX_EXECUTION_TIMEOUT_SECONDS)
    metadata: Metadata = Field(default_factory=dict)
    reuse: bool | None = None
    output: OutputOptions | None = None
    previews: bool = False

    @field_validator("metadata")
    @classmethod
    def _small(cls, value: Metadata) -> Metadata:
        if sum(len(k.encode()) + len(v.encode()) for k, v in value.items()) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata is at most {MAX_METADATA_BYTES} bytes in all")
        return value


JOB_OPTIONS = frozenset(_JobOptions.model_fields)


class TextToImageRequest(_JobOptions):
    """The parameter form: compiled into a ComfyUI text-to-image graph."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_LENGTH)
    negative_prompt: str = Field("", max_length=MAX_PROMPT_LENGTH)
    width: int = Field(512, ge=16, le=16384, multiple_of=8)
    height: int = Field(512, ge=16, le=16384, multiple_of=8)
    steps: int = Field(20, ge=1, le=1000)
    cfg_scale: float = Field(7.0, ge=0, le=100, allow_inf_nan=False)
    sampler: str = Field("euler", min_length=1, max_length=64)
    scheduler: str = Field("normal", min_length=1, max_length=64)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    model: str | None = Field(None, min_length=1, max_length=255)
    batch_size: int = Field(1, ge=1)

    @field_validator("model")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith("/") or "\\" in value or ".." in value):
            raise ValueError("a model is a name, no path that leads elsewhere")
        return value


class WorkflowRequest(_JobOptions):
    """The workflow form: a graph in ComfyUI's API format."""

    workflow: dict[str, Any]
    inputs: dict[str, str] = Field(default_factory=dict, max_length=MAX_INPUTS)


class UploadRequest(Request):
    """A file that a job will use; the answer is a form to post it with."""

    name: str = Field(min_length=1, max_length=255)
    content_type: str = Field(pattern=r"^(image|audio|video)/[a-z0-9][a-z0-9.+-]{0,63}$")
    bytes: int = Field(ge=1, le=MAX_UPLOAD_BYTES)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
