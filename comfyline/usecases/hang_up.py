"""Close the sockets that may not be open any more; the gateway asks who calls only once.

told ──> closed ──> forgotten: if we die in between, the next round finds the socket again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from comfyline import wire
from comfyline.domain.errors import ConnectionGone, SocketsDisabled, Unavailable
from comfyline.domain.ids import ConnectionId
from comfyline.ports import Clock, ConnectionStore, KeyStore, Sockets
from comfyline.usecases.authenticate import is_void

SWITCHED_OFF = wire.ErrorMessage(
    code=SocketsDisabled.code, message="Live progress was switched off; ask over HTTP."
)
KEY_VOID = wire.ErrorMessage(
    code="key_void", message="The key of this connection was disabled, or has expired."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorkeeper:
    """Closes the sockets of void keys, and every socket while the switch is off.

    `executor` runs the calls to the clients, which only wait.
    """

    connections: ConnectionStore
    keys: KeyStore
    sockets: Sockets
    clock: Clock
    executor: Executor

    def hang_up(self) -> int:
        """One round; how many sockets were closed. One that cannot be is left to the next."""
        unwanted = list(self._unwanted())
        closed = sum(self.executor.map(lambda one: self._close(*one), unwanted))
        if unwanted:
            extra = {"action": "sockets_closed", "closed": closed, "left": len(unwanted) - closed}
            _log.info("sockets closed", extra=extra)
        return closed

    def _unwanted(self) -> Iterator[tuple[ConnectionId, wire.ErrorMessage]]:
        """Each socket that may not be open, and what its client is told."""
        opened = self.connections.by_key()
        if not opened:  # which costs no look at the keys
            return
        if not self.keys.flags().websocket_enabled:
            yield from ((one, SWITCHED_OFF) for ids in opened.values() for one in ids)
            return
        now = self.clock()
        good = {key.id for key in self.keys.get_many(list(opened)) if not is_void(key, now)}
        yield from (
            (one, KEY_VOID) for key, ids in opened.items() if key not in good for one in ids
        )

    def _close(self, socket: ConnectionId, reason: wire.ErrorMessage) -> bool:
        try:
            with suppress(ConnectionGone, Unavailable):  # a client too slow to be told is closed
                self.sockets.post(socket, reason.model_dump_json(exclude_none=True).encode())
            self.sockets.close(socket)
            self.connections.close(socket)
        except Unavailable:
            _log.warning("socket not closed", exc_info=True, extra={"action": "socket_not_closed"})
            return False
        return True
