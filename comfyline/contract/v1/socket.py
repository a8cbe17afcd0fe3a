"""The messages of the WebSocket, in both directions."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.v1.common import DEFER_BUILD, Count, EndStatus, Request, Response, Status
from comfyline.contract.v1.responses import ErrorView
from comfyline.contract.v1.results import ResultView

_PROGRESS = "How much of the attempt is done, from 0 to 1."
_ATTEMPT = "The attempt that the message is about."


class Subscribe(Request):
    """Follow a job, or all of your jobs: exactly one of `job_id` and `jobs`.

    For a job, the service answers with the job's state, and sends every later change.

    For all of your jobs, it answers with the states of the newest 100 that have not ended, and then
    `subscribed`. It sends every later change of these and of the jobs that you post from then on:
    their starts and ends at once, their progress in steps of 5 %. Jobs that are posted before
    `repeat_after_seconds` have passed may be missing; subscribe again after that time to get them.
    """

    action: Literal["subscribe"] = Field(description="The action.")
    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)] | None = Field(
        default=None, description="The job to follow."
    )
    jobs: Literal["mine"] | None = Field(default=None, description="All jobs of the key's owner.")
    after: int | None = Field(
        default=None,
        ge=0,
        description="The version of the last message that the client has. The service first sends "
        "the changes of state after it. Only with `job_id`.",
    )

    @model_validator(mode="after")
    def _one_topic(self) -> Self:
        if (self.job_id is None) == (self.jobs is None):
            raise ValueError("give either job_id or jobs")
        if self.jobs is not None and self.after is not None:
            raise ValueError("after needs a job_id")
        return self


class Unsubscribe(Request):
    """Stop following a job, or all of your jobs. There is no answer."""

    action: Literal["unsubscribe"] = Field(description="The action.")
    job_id: Annotated[str, Field(pattern=JOB_ID_PATTERN)] | None = Field(
        default=None, description="The job to follow no longer."
    )
    jobs: Literal["mine"] | None = Field(default=None, description="All jobs of the key's owner.")

    @model_validator(mode="after")
    def _one_topic(self) -> Self:
        if (self.job_id is None) == (self.jobs is None):
            raise ValueError("give either job_id or jobs")
        return self


class Ping(Request):
    """Keep the connection open. The service answers with `pong`."""

    action: Literal["ping"] = Field(description="The action.")


class _JobMessage(Response):
    """A message about one job, ordered by (version, part).

    A client drops a message that is not newer than the newest that it has.
    """

    job_id: str = Field(description="The job that the message is about.")
    version: Count = Field(description="Number of the job's state; it rises with every change.")
    part: Count = Field(default=0, description="Orders the messages of one version.")


Reason = Literal["claimed", "interrupted", "attempt_failed", "worker_lost", "worker_unhealthy"]


class StatusMessage(_JobMessage):
    """The job's state: once after `subscribe`, then after every change of state.

    The answer to a subscription is marked by `snapshot`. The changes that the client missed since
    `after` come before it. Live messages can arrive among them, so a client keeps live messages
    until it has the snapshot, and then sorts all of them by (version, part).
    """

    type: Literal["status"] = Field(default="status", description="The type of the message.")
    status: Status = Field(
        description="The job's state. `canceling` means that a cancel was requested and the job's "
        "worker has not ended it yet."
    )
    progress: float = Field(ge=0, le=1, description=_PROGRESS)
    attempt: Count = Field(description=_ATTEMPT)
    reason: Reason | str | None = Field(
        default=None,
        description="Why a job waits again: `interrupted` (its worker had to stop), "
        "`attempt_failed`, `worker_lost` or `worker_unhealthy` (disk, memory or GPU of its "
        "worker failed). `claimed`: a worker prepares it. More may be added.",
    )
    snapshot: bool | None = Field(
        default=None, description="True if the message answers a subscription."
    )
    queue_position: int | None = Field(
        default=None, ge=1, description="Approximate place in the queue while the job waits."
    )


class ProgressMessage(_JobMessage):
    """How far the attempt is."""

    type: Literal["progress"] = Field(default="progress", description="The type of the message.")
    progress: float = Field(ge=0, le=1, description=_PROGRESS)
    message: str | None = Field(default=None, description="The same as a short text.")
    node: str | None = Field(default=None, description="Id of the node that runs.")
    node_type: str | None = Field(default=None, description="Class of that node.")
    step: Count | None = Field(default=None, description="The node's current step.")
    steps: Count | None = Field(default=None, description="The node's number of steps.")
    preview: str | None = Field(
        default=None,
        description="Signed URL of a preview of the unfinished picture, sent when there is a newer "
        "one. The preview is removed soon after the job's end.",
    )


class ArtifactMessage(_JobMessage):
    """A file was stored. It is void if the attempt is interrupted or fails later.

    The service sends the message when the file is stored or when the job ends, and again to a
    socket that subscribes anew. Within an attempt, a file keeps its `number`, so the client can
    drop a file that it has already. One answer, and one change of the job, has at most 100 of these
    messages; `artifacts_total` in `done` is the number of files.
    """

    type: Literal["artifact"] = Field(default="artifact", description="The type of the message.")
    number: Count = Field(description="The file's place among the job's files, from 0.")
    url: str = Field(description="A signed URL of the file.")
    name: str = Field(description="The file's name, as the workflow chose it.")
    kind: str = Field(description="What the workflow uses the file as, for example `image`.")
    node: str = Field(
        description="Id of the node that made the file; empty if no node reports the file."
    )
    attempt: Count = Field(description=_ATTEMPT)


class DoneMessage(_JobMessage):
    """The job has ended. It is the last message about the job."""

    type: Literal["done"] = Field(default="done", description="The type of the message.")
    status: EndStatus = Field(description="How the job ended.")
    result: ResultView | None = Field(default=None, description="What the job has made.")
    error: ErrorView | None = Field(default=None, description="Why the job failed.")


class SubscribedMessage(Response):
    """The socket follows all of your jobs. It comes after the states of those that live."""

    type: Literal["subscribed"] = Field(
        default="subscribed", description="The type of the message."
    )
    jobs: Literal["mine"] = Field(default="mine", description="All jobs of the key's owner.")
    repeat_after_seconds: Count = Field(
        description="Jobs that are posted within so many seconds may not be announced. A client "
        "that subscribes once more after them misses none."
    )


class ErrorMessage(Response):
    """The service refused the client's last message, or is about to close the socket."""

    type: Literal["error"] = Field(default="error", description="The type of the message.")
    code: str = Field(description="Stable name of the kind of error; decide by it.")
    message: str = Field(description="The error explained to people.")
    job_id: str | None = Field(
        default=None, description="The job that the refused message was about."
    )
    budget: str | None = Field(
        default=None, description="The limit that is reached, if the code is `too_many_requests`."
    )


class PongMessage(Response):
    """The answer to `ping`."""

    type: Literal["pong"] = Field(default="pong", description="The type of the message.")


JobMessage = StatusMessage | ProgressMessage | ArtifactMessage | DoneMessage

client_message: TypeAdapter[Subscribe | Unsubscribe | Ping] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="action")], config=DEFER_BUILD
)
server_message: TypeAdapter[JobMessage | SubscribedMessage | ErrorMessage | PongMessage]
server_message = TypeAdapter(
    Annotated[
        JobMessage | SubscribedMessage | ErrorMessage | PongMessage, Field(discriminator="type")
    ],
    config=DEFER_BUILD,
)
