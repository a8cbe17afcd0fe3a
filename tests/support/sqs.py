"""Queues of SQS in memory, for several threads: as much of boto3's client as the lanes need."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from threading import Lock
from typing import Any

POLL_SECONDS = 0.02
VISIBILITY_SECONDS = 20.0


class _Exceptions:
    class MessageNotInflight(Exception):
        pass


class InMemorySqs:
    """A client of queues whose URL is their name."""

    exceptions = _Exceptions()

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = itertools.count()
        self._queues: defaultdict[str, dict[str, _Message]] = defaultdict(dict)

    def send_message(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> Any:  # noqa: N803
        with self._lock:
            self._queues[QueueUrl][f"m{next(self._numbers)}"] = _Message(MessageBody)

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        WaitTimeSeconds: float,  # noqa: N803
        **_: Any,
    ) -> Any:
        give_up_at = time.monotonic() + WaitTimeSeconds
        while not (found := self._taken(QueueUrl, MaxNumberOfMessages)):
            if time.monotonic() >= give_up_at:
                break
            time.sleep(POLL_SECONDS)
        return {"Messages": found}

    def _taken(self, url: str, limit: int) -> list[dict[str, str]]:
        with self._lock:
            now, taken = time.monotonic(), list[dict[str, str]]()
            for id_, message in self._queues[url].items():
                if message.visible_at <= now and len(taken) < limit:
                    message.visible_at = now + VISIBILITY_SECONDS
                    message.received += 1
                    taken.append({"MessageId": id_, "ReceiptHandle": id_, "Body": message.body})
            return taken

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        with self._lock:
            self._queues[QueueUrl].pop(ReceiptHandle, None)

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: float,  # noqa: N803
    ) -> None:
        with self._lock:
            if message := self._queues[QueueUrl].get(ReceiptHandle):
                message.visible_at = time.monotonic() + VisibilityTimeout

    def bodies(self, url: str) -> list[str]:
        """The messages that are left, visible or not."""
        with self._lock:
            return [message.body for message in self._queues[url].values()]

    def most_deliveries(self) -> int:
        """How often a message that is left was received at most."""
        with self._lock:
            left = [m for queue in self._queues.values() for m in queue.values()]
            return max((message.received for message in left), default=0)


class _Message:
    def __init__(self, body: str) -> None:
        self.body, self.visible_at, self.received = body, 0.0, 0
