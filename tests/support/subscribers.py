"""The deployment in memory, with sockets through which subscribers follow its jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from comfyline.adapters.memory.access import InMemoryKeyStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.live import InMemoryConnectionStore
from comfyline.api.v1.messages import MessageEncoder
from comfyline.contract.ids import ConnectionId, KeyId, OwnerId
from comfyline.service.clock import Clock
from comfyline.service.jobs.change import Change
from comfyline.service.live.broadcast import Broadcast, Relay
from comfyline.service.live.delivery import Delivery
from comfyline.service.live.notify import Notifier
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection, Sockets
from comfyline.service.live.subscribe import Subscriptions
from tests.support.world import InMemoryDeployment


class FollowedDeployment(InMemoryDeployment):
    """What subscribers use. `on_change` receives every change of a row, as the stream would."""

    def __init__(
        self,
        clock: Clock,
        *,
        sockets: Sockets,
        on_change: Callable[[Change], object],
        executor: Executor,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        super().__init__(clock, store=InMemoryJobStore(on_change))
        self.keys = InMemoryKeyStore()
        self.connections = InMemoryConnectionStore()
        self.sockets = sockets
        self.relay: Relay | None = None
        self._executor, self._sleep = executor, sleep

    @property
    def broadcast(self) -> Broadcast:
        delivery = Delivery(
            connections=self.connections,
            sockets=self.sockets,
            metrics=self.metrics,
            clock=self.clock,
            sleep=self._sleep,
        )
        return Broadcast(
            connections=self.connections,
            delivery=delivery,
            metrics=self.metrics,
            executor=self._executor,
            relay=self.relay,
        )

    @property
    def notifier(self) -> Notifier:
        return Notifier(
            jobs=self.store,
            connections=self.connections,
            broadcast=self.broadcast,
            encode=MessageEncoder(self.artifacts, self.clock),
            clock=self.clock,
        )

    @property
    def subscriptions(self) -> Subscriptions:
        return Subscriptions(
            jobs=self.store,
            keys=self.keys,
            connections=self.connections,
            notifier=self.notifier,
            clock=self.clock,
            sleep=self._sleep,
        )

    def socket(self, name: str = "c1", owner: OwnerId | None = None) -> ConnectionId:
        """An open socket."""
        ends_at = self.clock() + CONNECTION_LIFETIME
        connection = Connection(ConnectionId(name), owner or self.owner, KeyId("k"), ends_at)
        self.connections.open(connection)
        return connection.id
