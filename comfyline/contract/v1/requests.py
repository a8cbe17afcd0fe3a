"""The request bodies of API v1.

A request with an unknown field is refused, and no value is converted to another type, so that a
misspelt option is an error instead of being ignored.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from comfyline.contract.ids import USER_PATTERN
from comfyline.contract.limits import (
    DEFAULT_TOKEN_SECONDS,
    MAX_BATCH_SIZE,
    MAX_EXECUTION_TIMEOUT_SECONDS,
    MAX_INPUTS,
    MAX_METADATA_BYTES,
    MAX_PIXELS,
    MAX_PROMPT_LENGTH,
    MAX_SEED,
    MAX_START_DEADLINE_SECONDS,
    MAX_TOKEN_JOBS,
    MAX_TOKEN_SECONDS,
    MAX_UPLOAD_BYTES,
    MIN_TOKEN_SECONDS,
)
from comfyline.contract.v1.common import INT64, Metadata, PictureFormat, Priority, Request


class OutputOptions(Request):
    """How still pictures are stored. Files of other kinds are stored as the workflow made them."""

    format: PictureFormat = Field(description="The encoding of the stored pictures.")
    quality: int = Field(
        default=90,
        ge=1,
        le=100,
        description="Quality of the encoding; a higher one makes larger files.",
    )


class _JobOptions(Request):
    priority: Priority = Field(
        default="normal", description="Workers take jobs of a higher priority first."
    )
    start_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=MAX_START_DEADLINE_SECONDS,
        description="A job that has not started after so many seconds ends as `expired`. If null, "
        "the deployment's default applies.",
    )
    execution_timeout_seconds: int | None = Field(
        default=None,
        ge=1,
        le=MAX_EXECUTION_TIMEOUT_SECONDS,
        description="A job that runs longer than so many seconds ends as `failed`. The time counts "
        "from the moment when ComfyUI starts the job. If null, the deployment's default applies.",
    )
    metadata: Metadata = Field(
        default_factory=dict,
        description="Labels of your own, returned with the job and in lists. Names and values "
        f"together have at most {MAX_METADATA_BYTES} bytes.",
    )
    reuse: bool | None = Field(
        default=None,
        description="Whether your queued, running or succeeded job with the same body may answer "
        "this request instead of a new job. If null, only a prompt with a `seed` is answered so. "
        "The field has no effect beside an `Idempotency-Key`.",
    )
    output: OutputOptions | None = Field(
        default=None,
        description="How still pictures are stored. If null, they stay as the workflow made them.",
    )
    previews: bool = Field(
        default=False,
        description="Whether `progress` messages of the WebSocket link to a preview of the "
        "unfinished picture.",
    )

    @field_validator("metadata")
    @classmethod
    def _is_small(cls, value: Metadata) -> Metadata:
        if sum(len(k.encode()) + len(v.encode()) for k, v in value.items()) > MAX_METADATA_BYTES:
            raise ValueError(f"metadata is at most {MAX_METADATA_BYTES} bytes in all")
        return value


class TextToImageRequest(_JobOptions):
    """A job described by parameters. The service compiles them into a text-to-image workflow."""

    prompt: str = Field(
        min_length=1, max_length=MAX_PROMPT_LENGTH, description="What the picture shows."
    )
    negative_prompt: str = Field(
        default="", max_length=MAX_PROMPT_LENGTH, description="What the picture must not show."
    )
    width: int = Field(
        default=512,
        ge=16,
        le=16384,
        multiple_of=8,
        description=f"Width in pixels. An image of more than {MAX_PIXELS:,} pixels is refused with "
        "413, unless your key has another limit.",
    )
    height: int = Field(
        default=512, ge=16, le=16384, multiple_of=8, description="Height in pixels."
    )
    steps: int = Field(default=20, ge=1, le=1000, description="Number of sampling steps.")
    cfg_scale: float = Field(
        default=7.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="How closely the sampler follows the prompt.",
    )
    sampler: str = Field(
        default="euler",
        min_length=1,
        max_length=64,
        description="One of `samplers` of GET /api/v1/models.",
    )
    scheduler: str = Field(
        default="normal",
        min_length=1,
        max_length=64,
        description="One of `schedulers` of GET /api/v1/models.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="Seed of the noise; it makes a picture repeatable. If null, the service draws "
        "one below 2^53 and returns it in the job's `params`. JavaScript and jq read a larger one "
        "wrong, unless they parse it as a big integer.",
        json_schema_extra=INT64,
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="One of `checkpoints` of GET /api/v1/models. If null, the deployment's "
        "default checkpoint.",
    )
    batch_size: int = Field(
        default=1,
        ge=1,
        description=f"Number of images; more than {MAX_BATCH_SIZE} are refused with 413, unless "
        "your key has another limit.",
    )

    @field_validator("model")
    @classmethod
    def _has_no_path(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith("/") or "\\" in value or ".." in value):
            raise ValueError("a model is named without a leading slash, `..` or a backslash")
        return value


class ExtraData(Request):
    """What ComfyUI is given beside the workflow. Only `extra_pnginfo` is passed on."""

    extra_pnginfo: dict[str, Any] = Field(
        default_factory=dict,
        description="What ComfyUI writes into the pictures beside the workflow, and hands to nodes "
        "that ask for it. Its `workflow`, saved by ComfyUI's editor, lets a picture be dragged "
        "back into the editor.",
    )


class WorkflowRequest(_JobOptions):
    """A job described by a workflow in ComfyUI's API format."""

    workflow: dict[str, Any] = Field(
        description="The graph as ComfyUI exports it with Export (API): node ids and their nodes."
    )
    extra_data: ExtraData | None = Field(
        default=None, description="What ComfyUI is given beside the workflow."
    )
    inputs: dict[str, str] = Field(
        default_factory=dict,
        max_length=MAX_INPUTS,
        description="Uploaded files for inputs of nodes: `<node id>.<input>` to "
        "`upload:<upload_id>`.",
    )
    strict: bool = Field(
        default=False,
        description="Whether the job fails if an output of the workflow is not valid. If false, "
        "ComfyUI runs the valid outputs, and the result names the others in `warnings`.",
    )


TokenScope = Literal["jobs", "jobs:read"]


def _all_scopes() -> list[TokenScope]:
    return ["jobs"]


class TokenRequest(Request):
    """What a short-lived token may do. It never may do more than the key that makes it."""

    user: str = Field(
        pattern=USER_PATTERN,
        description="Your own name of the user: 1 to 128 visible ASCII characters. The token sees "
        "and changes only jobs and uploads that were made with a token of the same user.",
    )
    scopes: list[TokenScope] = Field(
        default_factory=_all_scopes,
        min_length=1,
        max_length=2,
        description="What the token may do. `jobs`: everything that a token may do. `jobs:read`: "
        "read and follow jobs, and fetch their files.",
    )
    max_jobs: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TOKEN_JOBS,
        description="How many jobs the token may submit in all. A repeated post of the same job "
        "counts once. If null, any number within the limits of your key.",
    )
    expires_in: int = Field(
        default=DEFAULT_TOKEN_SECONDS,
        ge=MIN_TOKEN_SECONDS,
        le=MAX_TOKEN_SECONDS,
        description="After how many seconds the token stops working.",
    )


class UploadRequest(Request):
    """The description of a file that a job will use."""

    name: str = Field(
        min_length=1,
        max_length=255,
        description="The file's name. Nodes get the file with its suffix, which shows its format.",
    )
    content_type: str = Field(
        pattern=r"^[a-z]{1,31}/[a-z0-9][a-z0-9.+-]{0,127}$",
        description="The file's media type, such as `image/png`, `audio/flac`, "
        "`model/gltf-binary` or `text/plain`; `application/octet-stream` if it has none. The file "
        "must be sent with exactly this type.",
    )
    bytes: int = Field(ge=1, le=MAX_UPLOAD_BYTES, description="The file's exact size in bytes.")
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the file in hexadecimal. If given, another content is refused.",
    )
    blake3: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="BLAKE3 of the file in hexadecimal. If given, Comfy's own clients find the "
        "file by it, and need not send it; `name` must then be a relative path. The hash is "
        "verified when the file is used for the first time.",
    )
