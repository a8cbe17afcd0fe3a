"""The use cases about sockets and their messages, assembled from their adapters."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from comfyline.service.clock import Clock
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.service.live.broadcast import Broadcast
    from comfyline.service.live.close_sockets import SocketCloser
    from comfyline.service.live.messages import ClosingNotice
    from comfyline.service.live.notify import Notifier
    from comfyline.service.live.subscribe import Subscriptions

# Threads that post to sockets, and only wait: a job's 200 subscribers are served in 7 rounds.
POSTS_AT_ONCE = 32


class Live:
    """Live updates: used as `Wiring.live`."""

    def __init__(self, aws: Aws, clock: Clock) -> None:
        self.aws = aws
        self.clock = clock

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Subscribes sockets to jobs."""
        from comfyline.service.live.subscribe import Subscriptions

        return Subscriptions(
            jobs=self.aws.jobs,
            keys=self.aws.keys,
            connections=self.aws.connections,
            notifier=self.notifier,
            clock=self.clock,
        )

    @cached_property
    def notifier(self) -> Notifier:
        """Answers subscriptions."""
        return self._notifier(self.broadcast)

    @cached_property
    def pusher(self) -> Notifier:
        """Sends the changes of jobs to their subscribers, with the help of other functions."""
        return self._notifier(replace(self.broadcast, relay=self.aws.relay))

    def _notifier(self, broadcast: Broadcast) -> Notifier:
        from comfyline.api.v1.messages import MessageEncoder
        from comfyline.service.live.notify import Notifier

        return Notifier(
            jobs=self.aws.jobs,
            connections=self.aws.connections,
            broadcast=broadcast,
            encode=MessageEncoder(self.aws.artifacts, self.clock),
            clock=self.clock,
        )

    @cached_property
    def broadcast(self) -> Broadcast:
        """Posts messages to the subscribers of a job."""
        from comfyline.service.live.broadcast import Broadcast
        from comfyline.service.live.delivery import Delivery

        return Broadcast(
            connections=self.aws.connections,
            delivery=Delivery(
                connections=self.aws.connections,
                sockets=self.aws.sockets,
                metrics=self.aws.metrics,
                clock=self.clock,
            ),
            metrics=self.aws.metrics,
            executor=self._posts,
        )

    @cached_property
    def socket_closer(self) -> SocketCloser:
        """Closes the sockets of API keys that were disabled or have expired."""
        from comfyline.service.live.close_sockets import SocketCloser

        return SocketCloser(
            connections=self.aws.connections,
            keys=self.aws.keys,
            sessions=self.aws.sessions,
            sockets=self.aws.sockets,
            encode=_encoded_notice,
            clock=self.clock,
            executor=self._posts,
        )

    @cached_property
    def _posts(self) -> Executor:
        return ThreadPoolExecutor(POSTS_AT_ONCE)  # it starts a thread when there is work for it


def _encoded_notice(notice: ClosingNotice) -> bytes:
    # The models are loaded here, so that a sweeper that closes no socket starts without them.
    from comfyline.api.v1.messages import closing_message, encoded

    return encoded(closing_message(notice))
