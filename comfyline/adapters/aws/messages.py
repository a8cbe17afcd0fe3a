"""The messages of an SQS queue whose consumer could not handle them, for an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from comfyline.adapters.aws.errors import error_code, translated

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_RECEIVED = 10  # a limit of SQS
HELD_SECONDS = 60  # for so long an operator's command may work with what it has received
LOOK_SECONDS = 1  # a shorter look asks only some of the servers of SQS, and may miss messages

# The message was delivered again or deleted: the last code is what SQS says of a deleted one.
_GONE = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"})


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message of a queue that this process has received."""

    id: str
    body: str
    receipt: str
    sent_at: datetime
    received: int  # how often it was delivered


class SqsMessages:
    """The messages of a queue whose consumer could not handle them, for an operator.

    A message that its consumer has received lately is hidden, and cannot be seen.
    """

    def __init__(self, client: SQSClient, url: str, seconds: int = HELD_SECONDS) -> None:
        """`seconds`: so long a message is hidden at most while it is held."""
        self._client = client
        self._url = url
        self._seconds = seconds

    @contextmanager
    def held(self, limit: int | None = None) -> Iterator[list[HeldMessage]]:
        """The messages that can be seen, or up to `limit` of them.

        After the block they are delivered to their consumer.
        """
        found: dict[str, HeldMessage] = {}
        try:
            while limit is None or len(found) < limit:
                most = MAX_RECEIVED if limit is None else min(limit - len(found), MAX_RECEIVED)
                new = [m for m in self._receive(most) if m.id not in found]
                if not new:
                    break
                found |= {message.id: message for message in new}
            yield [*found.values()]
        finally:
            for message in found.values():
                self._show(message)

    @translated()
    def hidden(self) -> int:
        """About how many messages are hidden, because their consumer has received them."""
        name: Any = "ApproximateNumberOfMessagesNotVisible"
        answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    @translated()
    def drop(self, message: HeldMessage) -> None:
        """Delete the message."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)

    @translated()
    def _receive(self, most: int) -> list[HeldMessage]:
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=most,
            VisibilityTimeout=self._seconds,
            WaitTimeSeconds=LOOK_SECONDS,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )
        return [_held(message) for message in answer.get("Messages", [])]

    @translated()
    def _show(self, message: HeldMessage) -> None:
        try:
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=0
            )
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise


def _held(message: Any) -> HeldMessage:
    about = message["Attributes"]
    return HeldMessage(
        message["MessageId"],
        message["Body"],
        message["ReceiptHandle"],
        datetime.fromtimestamp(int(about["SentTimestamp"]) / 1000, UTC),
        int(about["ApproximateReceiveCount"]),
    )
