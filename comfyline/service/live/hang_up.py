"""Close the sockets that may not be open any more; the gateway asks who calls only once.

told ──> closed ──> forgotten: if we die in between, the next round finds the socket again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from comfyline.contract.ids import ConnectionId
from comfyline.contract.v1.socket import ErrorMessage
from comfyline.service.access.authenticate import is_void
from comfyline.service.access.keys import KeyStore
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, SocketsDisabled, Unavailable
from comfyline.service.live.sockets import ConnectionStore, Sockets

# Code and message. A model made here would be built at the start of every sweeper.
SWITCHED_OFF = SocketsDisabled.code, "Live progress was switched off; ask over HTTP."
KEY_VOID = "key_void", "The key of this connection was disabled, or has expired."

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

    def _unwanted(self) -> Iterator[tuple[ConnectionId, bytes]]:
        """Each socket that may not be open, and what its client is told."""
        opened = self.connections.by_key()
        if not opened:  # which costs no look at the keys
            return
        if not self.keys.flags().websocket_enabled:
            told = _message(*SWITCHED_OFF)
            yield from ((one, told) for ids in opened.values() for one in ids)
            return
        now = self.clock()
        good = {key.id for key in self.keys.get_many(list(opened)) if not is_void(key, now)}
        void = [one for key, ids in opened.items() if key not in good for one in ids]
        if void:
            told = _message(*KEY_VOID)
            yield from ((one, told) for one in void)

    def _close(self, socket: ConnectionId, told: bytes) -> bool:
        try:
            with suppress(ConnectionGone, Unavailable):  # a client too slow to be told is closed
                self.sockets.post(socket, told)
            self.sockets.close(socket)
            self.connections.close(socket)
        except Unavailable:
            _log.warning("socket not closed", exc_info=True, extra={"action": "socket_not_closed"})
            return False
        return True


def _message(code: str, text: str) -> bytes:
    message = ErrorMessage(code=code, message=text)
    return message.model_dump_json(exclude_none=True).encode()
