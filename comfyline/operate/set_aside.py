"""What the consumers of a deployment have set aside because they could not read or handle it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from comfyline.adapters.aws.jobs.quarantine import DynamoQuarantine
from comfyline.adapters.aws.messages import HeldMessage, SqsMessages
from comfyline.contract.ids import JobId
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import UnreadableRow

ROW = "row"
MAX_SHOWN = 300  # characters of a message


@dataclass(frozen=True, slots=True)
class SetAside:
    """One thing that was set aside. `id` is a job's, or a message's."""

    kind: str  # row, parked, dead letter
    id: str
    place: str  # the quarantine shard, or the queue
    can_be_read: bool  # by this release; of a message that is not known
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Rows in quarantine, and messages that wait in the queues of failed work."""

    rows: DynamoQuarantine
    queues: Mapping[str, SqsMessages]  # by the kind of their messages

    def all(self) -> list[SetAside]:
        """Everything that can be seen now."""
        found = [_of_row(shard, row) for shard, row in self.rows.rows()]
        for kind, queue in self.queues.items():
            with queue.held() as messages:
                found += [_of_message(kind, message) for message in messages]
        return found

    def hidden(self) -> int:
        """About how many messages their consumers hide until they try again."""
        return sum(queue.hidden() for queue in self.queues.values())

    def release(self, ids: Collection[str] | None) -> tuple[list[SetAside], list[SetAside]]:
        """Give the things with these ids, or all, back to their consumers.

        Returns those that were released, and the rows that still cannot be read, which stay.
        """
        done, left = list[SetAside](), list[SetAside]()
        for shard, row in self.rows.rows():
            if ids is None or row.id in ids:
                is_released = isinstance(row, Job) and self.rows.release(row, shard)
                (done if is_released else left).append(_of_row(shard, row))
        for kind, queue in self.queues.items():
            with queue.held() as messages:  # they are delivered after the block
                seen = [_of_message(kind, message) for message in messages]
            done += [each for each in seen if ids is None or each.id in ids]
        return done, left

    def drop(self, ids: Collection[str]) -> list[SetAside]:
        """Delete the things with these ids for good; returns those that were deleted."""
        done = []
        for shard, row in self.rows.rows():
            if row.id in ids and self.rows.drop(JobId(row.id), shard):
                done.append(_of_row(shard, row))
        for kind, queue in self.queues.items():
            with queue.held() as messages:
                for message in (each for each in messages if each.id in ids):
                    queue.drop(message)
                    done.append(_of_message(kind, message))
        return done


def _of_row(shard: str, row: Job | UnreadableRow) -> SetAside:
    if isinstance(row, UnreadableRow):
        return SetAside(ROW, row.id, shard, False, row.reason)
    return SetAside(ROW, row.id, shard, True, f"can be read now: {row.status.value}")


def _of_message(kind: str, message: HeldMessage) -> SetAside:
    return SetAside(kind, message.id, kind, False, ascii(message.body)[:MAX_SHOWN])
