"""The messages of the WebSocket, in both directions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1.common import (
    DEFER_BUILD,
    EndStatus,
    Request,
    Response,
    Status,
)
from comfyline.contract.v1.responses import (
    ErrorView,
    ResultView,
)


class Subscribe(Request):
    """Follow a job."""

    action: Literal["subscribe"]
    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]
    after: int | None = Field(None, ge=0)


class Unsubscribe(Request):
    """Follow it no longer."""

    action: Literal["unsubscribe"]
    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)]


class Ping(Request):
    """Keep the connection."""

    action: Literal["ping"]


ClientMessage = Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="action")]


class _JobMessage(Response):
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


class ErrorMessage(Response):
    """The last message of the client was refused."""

    type: Literal["error"] = "error"
    code: str
    message: str
    job_id: str | None = None


class PongMessage(Response):
    """Answer to a ping."""

    type: Literal["pong"] = "pong"


JobMessage = StatusMessage | ProgressMessage | ArtifactMessage | DoneMessage


ServerMessage = Annotated[
    StatusMessage | ProgressMessage | ArtifactMessage | DoneMessage | ErrorMessage | PongMessage,
    Field(discriminator="type"),
]


client_message: TypeAdapter[Subscribe | Unsubscribe | Ping] = TypeAdapter(
    ClientMessage, config=DEFER_BUILD
)


server_message: TypeAdapter[JobMessage | ErrorMessage | PongMessage] = TypeAdapter(
    ServerMessage, config=DEFER_BUILD
)
