"""What subscribers of a job learn from its changes: plain values, without any wire format.

Rule: nothing here reads a store or keeps a memory between changes. Every message is derived from
the rows before and after a change, or from the record of the job. Messages of one job are ordered
by (version, part): part 0 is the change itself, part n + 1 is the file with number n, and the end
comes after all files. So the same change always makes the same messages with the same numbers, and
a client can drop the ones that it already has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from comfyline.contract.ids import JobId
from comfyline.service.jobs.artifact_keys import preview_key
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import HistoryEntry, Job, JobRecord, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.result import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The state of the job after a change, or the snapshot that answers a subscription."""

    job_id: JobId
    version: int
    part: int = 0
    status: Status
    is_canceling: bool
    progress: float
    attempt: int
    event: str | None  # the event in the job's history that led to this state
    is_snapshot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressMade:
    """How far the running attempt is. `preview` is the key of a new preview picture."""

    job_id: JobId
    version: int
    part: int = 0
    progress: Progress
    preview: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStored:
    """One file of the attempt is stored. It is void if the attempt is interrupted later."""

    job_id: JobId
    version: int
    part: int
    number: int  # position in the job's list of files, from 0
    artifact: Artifact
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """The job has ended. This is the last message of a job."""

    version: int
    part: int
    record: JobRecord

    @property
    def job_id(self) -> JobId:
        """The job that ended."""
        return self.record.job.id


Message = StateChanged | ProgressMade | FileStored | JobEnded


@dataclass(frozen=True, slots=True)
class ClosingNotice:
    """The last message on a socket that the service closes: the reason."""

    code: str
    text: str


# A client that needs all files of a job with thousands of them reads their pages.
MAX_FILES_AT_ONCE = 100

# These make the bytes of a WebSocket message. The composition root passes them in, because the
# service does not know the wire format.
Encode = Callable[[Message], bytes]
EncodeNotice = Callable[[ClosingNotice], bytes]


def order_of(message: Message) -> tuple[int, int]:
    """The sort key of the messages of one job."""
    return message.version, message.part


# --- from the rows of a job -----------------------------------------------------------------------


def message_of(change: Change) -> StateChanged | ProgressMade | None:
    """The message of one change; None if clients cannot see the change."""
    before, after = change
    if before is not None and before.version == after.version:
        return None
    is_recorded = bool(after.history) and after.history[-1].version == after.version
    return state_of(after) if is_recorded else _progress_of(change)


def messages_of(changes: Sequence[Change]) -> list[Message]:
    """The messages of consecutive changes of one job.

    Every state is kept. Progress that a later message replaces is left out.
    """
    messages = [message for change in changes if (message := message_of(change))]
    kept = [m for m in messages[:-1] if not isinstance(m, ProgressMade)] + messages[-1:]
    return [_with_newest_preview(message, changes) for message in kept]


def state_of(job: Job, *, is_snapshot: bool = False) -> StateChanged:
    """The present state of the job."""
    return StateChanged(
        job_id=job.id,
        version=job.version,
        status=job.status,
        is_canceling=job.is_canceling,
        progress=job.progress.fraction,
        attempt=job.attempt,
        event=job.history[-1].event if job.history else None,
        is_snapshot=is_snapshot,
    )


def missed_states(job: Job, after: int) -> list[StateChanged]:
    """The states between version `after` and the current version, oldest first.

    The row remembers a limited history, so older states may be missing. The state of the current
    version is not included; `state_of` makes it.
    """
    return [_past_state(job, entry) for entry in job.history if after < entry.version < job.version]


def _past_state(job: Job, entry: HistoryEntry) -> StateChanged:
    asked_at = job.cancel_requested_at
    is_canceling = asked_at is not None and entry.at >= asked_at and not entry.status.is_terminal
    # Every state starts with progress 0, except a cancel request: it arrives during an attempt.
    is_mid_attempt = entry.event == "cancel_requested" and entry.attempt == job.attempt
    return StateChanged(
        job_id=job.id,
        version=entry.version,
        status=entry.status,
        is_canceling=is_canceling,
        progress=job.progress.fraction if is_mid_attempt else 0.0,
        attempt=entry.attempt,
        event=entry.event,
    )


def _progress_of(change: Change) -> ProgressMade:
    job = change.after
    return ProgressMade(job_id=job.id, version=job.version, progress=job.progress)


def _with_newest_preview(message: Message, changes: Sequence[Change]) -> Message:
    """Progress with the key of the attempt's newest preview, if these changes brought one."""
    job = changes[-1].after
    is_new = any(b is None or b.previewed < a.previewed for b, a in changes)
    if isinstance(message, ProgressMade) and is_new and job.previewed:
        return replace(message, preview=preview_key(job))
    return message


# --- from the record of a job ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewFiles:
    """The numbers of the files that a change has listed while the attempt was still running."""

    at: Job
    numbers: range


def new_files(changes: Sequence[Change]) -> list[NewFiles]:
    """The files that each of these changes has listed, as far as the last change keeps them.

    A change of more than MAX_FILES_AT_ONCE files announces only the newest. The files of the end
    are not among them: `ending_of` has them from the record, so they cost no read.
    """
    job = changes[-1].after
    return [
        newest_files(after, before.stored)
        for before, after in changes
        if before is not None
        and before.stored < after.stored
        and not after.status.is_terminal
        and job.lists_files
        and after.attempt_path == job.attempt_path
    ]


def known_at_end(changes: Sequence[Change]) -> int:
    """How many files were listed before the change that ended the job, if one of these did."""
    ends = (change.before for change in changes if change.ends_the_job and change.before)
    return next((before.stored for before in ends), changes[-1].after.stored)


def newest_files(job: Job, known: int = 0) -> NewFiles:
    """The newest MAX_FILES_AT_ONCE files that a running attempt has listed after `known` ones."""
    return NewFiles(job, range(job.stored)[known:][-MAX_FILES_AT_ONCE:])


def files_of(listed: NewFiles, artifacts: Sequence[Artifact]) -> list[FileStored]:
    """The messages of these files."""
    return _files(listed.at, listed.numbers, artifacts)


def unannounced(record: JobRecord, announced: int) -> range:
    """The numbers of the first MAX_FILES_AT_ONCE files of an ended job after `announced` ones."""
    return range(record.artifacts_total)[announced:][:MAX_FILES_AT_ONCE]


def ending_of(record: JobRecord, numbers: range, artifacts: Sequence[Artifact]) -> list[Message]:
    """The messages of an ended job: the files with these numbers, then the end."""
    job = record.job
    end = JobEnded(version=job.version, part=record.artifacts_total + 1, record=record)
    return [*_files(job, numbers, artifacts), end]


def _files(job: Job, numbers: range, artifacts: Sequence[Artifact]) -> list[FileStored]:
    return [
        FileStored(
            job_id=job.id,
            version=job.version,
            part=number + 1,
            number=number,
            artifact=artifact,
            attempt=job.attempt,
        )
        for number, artifact in zip(numbers, artifacts, strict=False)
    ]
