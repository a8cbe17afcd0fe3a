"""Close sockets that must not stay open.

These are the sockets of void keys and of sessions that were ended, or all while live updates are
off. API Gateway checks the caller only when a socket is opened. So a key that is disabled or
expires later leaves its sockets open until the sweeper closes them here, and so does a session that
is ended.

    notice sent ──> socket closed ──> connection deleted

If the process dies in between, the next round finds the connection again.

An ended session is looked at until no socket can come any more that was allowed before its end, and
is then forgotten. So a round costs as much as few minutes have sign-outs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import ConnectionId, KeyId
from comfyline.service.access.keys import KEYS_SCOPE, ApiKey, KeyStore
from comfyline.service.access.sessions import EndedSession, SessionStore
from comfyline.service.clock import Clock
from comfyline.service.errors import ConnectionGone, SocketsDisabled, Unavailable
from comfyline.service.live.messages import ClosingNotice, EncodeNotice
from comfyline.service.live.sockets import CONNECTION_LIFETIME, ConnectionStore, Sockets

SWITCHED_OFF = ClosingNotice(SocketsDisabled.code, "Live progress was switched off; ask over HTTP.")
SESSION_ENDED = ClosingNotice("key_void", "The session of this connection was ended.")
KEY_VOID = ClosingNotice("key_void", "The key of this connection was disabled, or has expired.")

# By how much the clock of an operator who disables a key or ends a session may differ. A socket
# that was allowed before is stored much sooner.
SKEW = timedelta(minutes=10)
# A key that is void for longer has no open socket: the gateway has ended all of them.
LOOK_BACK = CONNECTION_LIFETIME + SKEW

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketCloser:
    """Closes the sockets of void keys and of ended sessions, or all while they are switched off.

    `executor` runs the calls to the gateway, which spend their time waiting for the network.
    """

    connections: ConnectionStore
    keys: KeyStore
    sessions: SessionStore
    sockets: Sockets
    encode: EncodeNotice
    clock: Clock
    executor: Executor

    def close_unwanted(self, ends_at: datetime) -> int:
        """Run one round and return how many sockets were closed; start nothing after `ends_at`.

        The next round closes the sockets that cannot be closed now.
        """
        unwanted = list(self._unwanted())
        closed = sum(self.executor.map(lambda one: self._close(one[0], one[1], ends_at), unwanted))
        if unwanted:
            extra = {"action": "sockets_closed", "closed": closed, "left": len(unwanted) - closed}
            _log.info("sockets closed", extra=extra)
        return closed

    def _unwanted(self) -> Iterator[tuple[ConnectionId, ClosingNotice]]:
        """Every socket that must not stay open, and the notice for its client."""
        if not self.keys.flags().websocket_enabled:
            yield from ((socket, SWITCHED_OFF) for socket in self.connections.open_sockets())
            return
        now = self.clock()
        lately = self.keys.void_between(now - LOOK_BACK, now + SKEW)
        # The list lags, so a key may have been enabled again.
        void = [key for key in self.keys.get_many(lately) if key.is_void(now)] if lately else []
        ids = dict.fromkeys(key_id for key in void for key_id in (key.id, *self._made_by(key)))
        for sockets in self.executor.map(self.connections.open_sockets, ids):
            yield from ((socket, KEY_VOID) for socket in sockets)
        for sockets in self.executor.map(self._of_ended, self.sessions.ended()):
            yield from ((socket, SESSION_ENDED) for socket in sockets)

    def _of_ended(self, ended: EndedSession) -> list[ConnectionId]:
        """The session's open sockets. One without any is forgotten once no more can come."""
        sockets = self.connections.open_sockets(ended.id.key_id, ended.id.sha256)
        if not sockets and self.clock() >= ended.at + SKEW:
            self.sessions.forget(ended)
        return sockets

    def _made_by(self, key: ApiKey) -> list[KeyId]:
        """The keys that end with this one."""
        if KEYS_SCOPE not in key.scopes:
            return []
        return [other.id for other in self.keys.of_owner(key.owner) if other.made_by == key.id]

    def _close(self, socket: ConnectionId, notice: ClosingNotice, ends_at: datetime) -> bool:
        if self.clock() >= ends_at:
            return False
        try:
            with suppress(ConnectionGone, Unavailable):  # a client that is too slow is closed too
                self.sockets.post(socket, self.encode(notice))
            self.sockets.close(socket)
            self.connections.close(socket)
        except Unavailable:
            _log.warning("socket not closed", exc_info=True, extra={"action": "socket_not_closed"})
            return False
        return True
