"""The public contract: requests, answers, problems and WebSocket messages, as they travel.

Requests forbid unknown fields and coerce nothing: a misspelt option must not be ignored. What the
service says is read leniently, so that an old client survives a newer service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from comfyline.domain.ids import JOB_ID_PATTERN

API_PREFIX = "/api/v1"

MAX_BODY_BYTES = 4 * 1024 * 1024  # below the 6 MB that a Lambda may be called with
MAX_PIXELS = 4_000_000  # one image of 4 MP fits a 24 GB GPU with SDXL
MAX_BATCH_SIZE = 10
MAX_PROMPT_LENGTH = 20_000
MAX_METADATA_BYTES = 1024  # listed with each job, so it must stay small
MAX_INPUTS = 100
MAX_UPLOAD_BYTES = 100 * 1024 * 1024  # ComfyUI's own limit of a body
MAX_WAIT_SECONDS = 25  # the gateway gives up after 30
MAX_SEED = 2**63 - 1
MAX_START_DEADLINE_SECONDS = 7 * 24 * 3600  # half of a ticket's life in the queue
MAX_EXECUTION_TIMEOUT_SECONDS = 6 * 3600  # below the 12 h that a ticket can stay hidden
MAX_MESSAGE_BYTES = 32 * 1024  # API Gateway's frame
MAX_CLIENT_MESSAGE_BYTES = 1024  # a subscription has some 80 bytes
MAX_SUBSCRIPTIONS = 250  # of one socket; their list is kept in its row, which stays below 8 KB
MAX_ARTIFACTS_IN_MESSAGE = 8

Status = Literal["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"]
EndStatus = Literal["succeeded", "failed", "canceled", "expired"]
Priority = Literal["high", "normal", "low"]
PictureFormat = Literal["webp", "jpeg"]
Metadata = dict[Annotated[str, Field(min_length=1, max_length=128)], str]


# --- what a caller sends ----------------------------------------------------------------------


# A process knows all of the contract and speaks little of it: what it does not use costs nothing.
_AT_FIRST_USE = ConfigDict(defer_build=True)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class OutputOptions(_Request):
    """How still pictures are stored; whatever else a workflow makes stays as it is."""

    format: PictureFormat
    quality: int = Field(90, ge=1, le=100)


class _JobOptions(_Request):
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


class UploadRequest(_Request):
    """A file that a job will use; the answer is a form to post it with."""

    name: str = Field(min_length=1, max_length=255)
    content_type: str = Field(pattern=r"^(image|audio|video)/[a-z0-9][a-z0-9.+-]{0,63}$")
    bytes: int = Field(ge=1, le=MAX_UPLOAD_BYTES)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


# --- what the service answers -----------------------------------------------------------------


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class JobAccepted(_Answer):
    """202 of a submission."""

    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]
    status: Status
    queued_at: datetime
    location: str


class ProgressDetail(_Answer):
    """Where in its graph the job is."""

    node: str | None = None
    node_type: str | None = None
    step: int | None = None
    steps: int | None = None
    nodes_done: int = 0
    nodes_total: int = 0
    message: str | None = None


class ArtifactView(_Answer):
    """One output file; `url` is signed afresh at each read."""

    url: str
    name: str
    kind: str
    content_type: str
    bytes: int
    sha256: str
    node: str
    url_expires_at: datetime | None = None
    seed: int | None = None
    meta: dict[str, Any] = Field(default_factory=dict)


class ResultView(_Answer):
    """What a succeeded job has made; `truncated` where a message had no room for all."""

    artifacts: list[ArtifactView]
    truncated: bool = False


class ErrorView(_Answer):
    """Why the job, or its last attempt, failed."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    attempt: int | None = None


class Timestamps(_Answer):
    """The job's times, UTC."""

    queued_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None


class OutputView(_Answer):
    """How the job's still pictures are stored."""

    format: str
    quality: int


class JobView(_Answer):
    """A job as its owner sees it."""

    job_id: str
    status: Status
    progress: float = Field(ge=0, le=1)
    progress_detail: ProgressDetail
    submitted_by: str
    params: dict[str, Any]
    metadata: dict[str, str]
    priority: Priority
    output: OutputView | None = None
    previews: bool = False
    result: ResultView | None = None
    error: ErrorView | None = None
    timestamps: Timestamps
    attempt: int
    interruptions: int
    cached: bool
    gpu_seconds: float
    version: int
    queue_position: int | None = Field(None, ge=1)
    retry_of: str | None = None


class JobPage(_Answer):
    """One page of the caller's jobs, newest first, without results."""

    jobs: list[JobView]
    next_cursor: str | None = None


class CancelAnswer(_Answer):
    """202 of a cancel: what became of it."""

    job_id: str
    status: Status
    message: str


class EventView(_Answer):
    """One change of a job's state."""

    version: int
    at: datetime
    event: str
    status: Literal["queued", "running", "succeeded", "failed", "canceled", "expired"]
    attempt: int


class EventList(_Answer):
    """A job's changes of state in order; the first of very many may be left out."""

    job_id: str
    events: list[EventView]


class UploadAccepted(_Answer):
    """201 of an upload: post `fields` and then the file, as `file`, to `url`."""

    upload_id: str
    url: str
    fields: dict[str, str]
    expires_at: datetime


class SocketTicketView(_Answer):
    """201: opens one socket, as `?ticket=`."""

    ticket: str
    expires_at: datetime


class Models(_Answer):
    """What the deployment has; no node classes means that all are allowed."""

    default_checkpoint: str
    checkpoints: list[str]
    samplers: list[str]
    schedulers: list[str]
    node_classes: list[str]


class UsageView(_Answer):
    """What the caller's ended jobs have used in all."""

    owner: str
    gpu_seconds: float
    jobs: int


class Health(_Answer):
    """200 of /healthz."""

    status: Literal["ok"]


class FieldProblem(_Answer):
    """One field of a 422."""

    loc: list[str | int]
    msg: str


class Problem(_Answer):
    """RFC 9457, `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[FieldProblem] | None = None


class GatewayMessage(_Answer):
    """What the gateway answers by itself, before any function is asked."""

    message: str | None = None


# --- the WebSocket ----------------------------------------------------------------------------


class Subscribe(_Request):
    """Follow a job."""

    action: Literal["subscribe"]
    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]
    after: int | None = Field(None, ge=0)


class Unsubscribe(_Request):
    """Follow it no longer."""

    action: Literal["unsubscribe"]
    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]


class Ping(_Request):
    """Keep the connection."""

    action: Literal["ping"]


ClientMessage = Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="action")]


class _JobMessage(_Answer):
    """Ordered by (version, part): a client drops what is not newer than what it has."""

    job_id: str
    version: int
    part: int = 0


Reason = Literal["claimed", "interrupted", "attempt_failed", "worker_lost"]


class StatusMessage(_JobMessage):
    """The snapshot on subscribe, and every change of state.

    `snapshot` marks the answer to a subscription. What was missed since its `after` comes before
    it, and live messages may already come between: keep those until the snapshot is there, and
    nothing is taken for old that is only late.
    """

    type: Literal["status"] = "status"
    status: Status
    progress: float
    attempt: int
    reason: Reason | str | None = None
    snapshot: bool | None = None
    queue_position: int | None = None


class ProgressMessage(_JobMessage):
    """How far the attempt is.

    `preview` is the signed URL of a picture of the job in the making, told when there is a newer
    one; it is gone soon after the job's end.
    """

    type: Literal["progress"] = "progress"
    progress: float
    message: str | None = None
    node: str | None = None
    node_type: str | None = None
    step: int | None = None
    steps: int | None = None
    preview: str | None = None


class ArtifactMessage(_JobMessage):
    """A file was stored; void if an interruption follows.

    Told as it is stored or at the job's end, and again to a socket that subscribes anew: within an
    attempt its number tells it apart.
    """

    type: Literal["artifact"] = "artifact"
    number: int  # its place among the job's files, from 0
    url: str
    name: str
    kind: str
    node: str
    attempt: int


class DoneMessage(_JobMessage):
    """The job has ended; nothing follows."""

    type: Literal["done"] = "done"
    status: EndStatus
    result: ResultView | None = None
    error: ErrorView | None = None


class ErrorMessage(_Answer):
    """The last message of the client was refused."""

    type: Literal["error"] = "error"
    code: str
    message: str
    job_id: str | None = None


class PongMessage(_Answer):
    """Answer to a ping."""

    type: Literal["pong"] = "pong"


JobMessage = StatusMessage | ProgressMessage | ArtifactMessage | DoneMessage
ServerMessage = Annotated[
    StatusMessage | ProgressMessage | ArtifactMessage | DoneMessage | ErrorMessage | PongMessage,
    Field(discriminator="type"),
]

client_message: TypeAdapter[Subscribe | Unsubscribe | Ping] = TypeAdapter(
    ClientMessage, config=_AT_FIRST_USE
)
server_message: TypeAdapter[JobMessage | ErrorMessage | PongMessage] = TypeAdapter(
    ServerMessage, config=_AT_FIRST_USE
)
