"""Lanes as SQS standard queues, one for each priority.

A ticket's message group is its owner, so that SQS is fair between owners.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from comfyline.adapters.aws.errors import error_code, translated
from comfyline.adapters.aws.messages import HeldMessage, SqsMessages
from comfyline.contract.ids import JOB_ID_PATTERN, JobId, OwnerId
from comfyline.service.errors import Unavailable
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import TICKET_BATCH, DeadLetter, Ticket

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SCHEMA = 1

# Limits of SQS.
MAX_HIDE_SECONDS = 43_200
MAX_WAIT_SECONDS = 20
MAX_RECEIVED = 10
PEEK_SECONDS = 15  # so long a look may take; messages are hidden for no longer if it dies
MAX_SHOWN = 200  # characters of an unreadable message in the log
_TRACE: Literal["AWSTraceHeader"] = "AWSTraceHeader"  # SQS does not bill its size
_ROOT = re.compile(r"(?:^|;) *Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)")
_GROUP_ID = re.compile(r"[!-~]{1,128}")  # ASCII letters, digits and punctuation, without spaces

# The ticket was delivered again or deleted, so this delivery no longer decides about it.
_STALE = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid"})

# SQS refuses a visibility timeout that ends more than 12 h after the message was received. The
# message then becomes visible a little earlier than asked.
_TOO_LONG = frozenset({"InvalidParameterValue"})

_log = logging.getLogger(__name__)


class SqsJobQueue:
    """`JobQueue` in SQS.

    `trace` returns X-Ray's header of the current trace. It is sent with each ticket.
    `on_unreadable` is called for each message that is deleted because it is no ticket.
    """

    def __init__(
        self,
        client: SQSClient,
        urls: Mapping[Priority, str],
        trace: Callable[[], str | None] = lambda: None,
        on_unreadable: Callable[[], object] = lambda: None,
    ) -> None:
        self._client = client
        self._urls = dict(urls)
        self._trace = trace
        self._on_unreadable = on_unreadable

    @translated()
    def send(self, job_id: JobId, owner: OwnerId, priority: Priority) -> None:
        """See JobQueue."""
        self._client.send_message(
            QueueUrl=self._urls[priority], **_message(job_id, owner, self._trace())
        )

    @translated()
    def send_many(self, jobs: Sequence[tuple[JobId, OwnerId]], priority: Priority) -> None:
        """See JobQueue."""
        trace, failed = self._trace(), list[str]()
        for start in range(0, len(jobs), TICKET_BATCH):
            entries: Any = [
                {"Id": str(number), **_message(job_id, owner, trace)}
                for number, (job_id, owner) in enumerate(jobs[start : start + TICKET_BATCH])
            ]
            answer = self._client.send_message_batch(QueueUrl=self._urls[priority], Entries=entries)
            failed += [entry["Code"] for entry in answer.get("Failed", [])]
        if failed:
            raise Unavailable(
                f"SQS refused {len(failed)} of {len(jobs)} tickets: {sorted(set(failed))}"
            )

    def depth(self, priority: Priority) -> int:
        """See JobQueue."""
        return self._count(priority, "ApproximateNumberOfMessages")

    def in_flight(self, priority: Priority) -> int:
        """See JobQueue."""
        return self._count(priority, "ApproximateNumberOfMessagesNotVisible")

    @translated()
    def _count(self, priority: Priority, name: Any) -> int:
        answer = self._client.get_queue_attributes(
            QueueUrl=self._urls[priority], AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    @translated()
    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        """See JobQueue. SQS waits up to 20 s and returns up to 10 messages at once."""
        answer = self._client.receive_message(
            QueueUrl=self._urls[priority],
            MaxNumberOfMessages=min(limit, MAX_RECEIVED),
            WaitTimeSeconds=min(wait_seconds, MAX_WAIT_SECONDS),
            MessageSystemAttributeNames=[_TRACE],
        )
        tickets = (self._ticket(priority, message) for message in answer.get("Messages", []))
        return [ticket for ticket in tickets if ticket is not None]

    def _ticket(self, priority: Priority, message: Any) -> Ticket | None:
        job_id = job_id_of(message["Body"])
        receipt = message["ReceiptHandle"]
        if job_id is None:
            extra = {"action": "ticket_unreadable", "message_id": message["MessageId"]}
            _log.error("unreadable ticket deleted", extra=extra | shown(message["Body"]))
            self._on_unreadable()
            with suppress(Unavailable):  # it comes again, and the other tickets are not lost
                self.delete(Ticket(JobId(""), priority, receipt))
            return None
        return Ticket(job_id, priority, receipt, _trace_id(message.get("Attributes", {})))

    @translated()
    def hide(self, ticket: Ticket, seconds: int) -> None:
        """See JobQueue. SQS hides a message until 12 h after its delivery at most."""
        try:
            self._client.change_message_visibility(
                QueueUrl=self._urls[ticket.priority],
                ReceiptHandle=ticket.receipt,
                VisibilityTimeout=min(seconds, MAX_HIDE_SECONDS),
            )
        except ClientError as error:
            _raise_unless(_STALE | _TOO_LONG, error, ticket)

    @translated()
    def delete(self, ticket: Ticket) -> None:
        """See JobQueue."""
        url = self._urls[ticket.priority]
        try:
            self._client.delete_message(QueueUrl=url, ReceiptHandle=ticket.receipt)
        except ClientError as error:
            _raise_unless(_STALE, error, ticket)


class SqsDeadLetters:
    """`DeadLetters` in SQS."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    @translated()
    def receive(self, limit: int) -> list[tuple[JobId | None, str]]:
        """See DeadLetters."""
        answer = self._client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=min(limit, MAX_RECEIVED), WaitTimeSeconds=1
        )
        messages: Any = answer.get("Messages", [])
        return [(job_id_of(m["Body"]), m["ReceiptHandle"]) for m in messages]

    @translated()
    def delete(self, receipt: str) -> None:
        """See DeadLetters."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)

    @translated()
    def peek(self, limit: int) -> list[DeadLetter]:
        """See DeadLetters."""
        with SqsMessages(self._client, self._url, PEEK_SECONDS).held(limit) as messages:
            letters = [_dead_letter(message) for message in messages]
        return sorted(letters, key=lambda letter: (letter.sent_at, letter.id))


def _dead_letter(message: HeldMessage) -> DeadLetter:
    job_id = job_id_of(message.body)
    text = "" if job_id else ascii(message.body)[:MAX_SHOWN]
    return DeadLetter(message.id, job_id, text, message.sent_at, message.received)


def _raise_unless(codes: frozenset[str], error: ClientError, ticket: Ticket) -> None:
    code = error_code(error)
    if code not in codes:
        raise error
    extra = {"action": "ticket_out_of_hand", "job_id": ticket.job_id, "code": code}
    _log.info("ticket is no longer held", extra=extra)


def _message(job_id: JobId, owner: OwnerId, trace: str | None) -> Any:
    return {
        "MessageBody": json.dumps({"schema": SCHEMA, "job_id": job_id}),
        "MessageGroupId": _group_id(owner),
        "MessageSystemAttributes": _trace_attribute(trace),
    }


def _trace_attribute(header: str | None) -> Any:
    # SQS refuses a message with a wrong header, and a missing trace must not lose a ticket.
    if header is None or not _ROOT.search(header):
        return {}
    return {_TRACE: {"DataType": "String", "StringValue": header}}


def _trace_id(attributes: Mapping[str, str]) -> str | None:
    root = _ROOT.search(attributes.get(_TRACE, ""))
    return root[1] if root else None


def _group_id(owner: OwnerId) -> str:
    return owner if _GROUP_ID.fullmatch(owner) else hashlib.sha256(owner.encode()).hexdigest()


def job_id_of(body: object) -> JobId | None:
    """The job that a message names; None if the message is not a ticket. Raises nothing."""
    try:
        ticket = json.loads(body) if isinstance(body, str) else None
    except (ValueError, RecursionError):  # the latter: "[[[[..." of any length
        return None
    job_id = ticket.get("job_id") if isinstance(ticket, dict) else None
    is_id = isinstance(job_id, str) and re.fullmatch(JOB_ID_PATTERN, job_id)
    return JobId(str(job_id)) if is_id else None


def shown(body: object) -> dict[str, str]:
    """The beginning of a message that is deleted, for the log: the only copy of its text."""
    return {"body": ascii(body)[:MAX_SHOWN]}
