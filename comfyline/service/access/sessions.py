"""Sessions: a person is signed in at the console. The value, and its store's port.

    key ──> session (a cookie, 12 h) ──> bearer (in the page's memory, 10 min, renewed)

A session that is ended before its time is named in a list, so that the sweeper closes the sockets
that its bearers have opened: see close_sockets.py.

A session is random, and the store holds its hash only, as of a token. It names its key, so that it
ends with the key. A bearer is a token that names its session, so that it ends with the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.contract.ids import KeyId, OwnerId
    from comfyline.service.access.keys import ApiKey
    from comfyline.service.clock import Clock

# A working day. It is not extended by use, so a stolen cookie is of no use after it.
SESSION_LIFETIME = timedelta(hours=12)
# The bearer is what a script in the page can read.
BEARER_LIFETIME = timedelta(minutes=10)
# From the start of the service to the person who opens the link that was printed.
LINK_LIFETIME = timedelta(minutes=10)
# Of a key. One more ends the oldest, so that a key that is used in a loop fills no table.
MAX_SESSIONS = 100


@dataclass(frozen=True, slots=True)
class SessionId:
    """Which session it is."""

    owner: OwnerId
    key_id: KeyId
    sha256: str


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that was ended. Sockets that its bearers opened may still be open."""

    id: SessionId
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as the store keeps it: with the hash of its secret, without the secret itself."""

    sha256: str
    owner: OwnerId
    key_id: KeyId
    created_at: datetime
    expires_at: datetime
    vouched: ApiKey | None = None  # the key, where it is a person's, which no store has

    @property
    def id(self) -> SessionId:
        """Which session it is."""
        return SessionId(self.owner, self.key_id, self.sha256)


class SessionStore(Protocol):
    """Stores sessions until they end, and which were ended before their time."""

    def put(self, session: Session) -> None:
        """Store a session."""

    def get(self, key_id: KeyId, sha256: str) -> Session | None:
        """The session, also if it has expired; None if it is not there. The read is consistent."""

    def of_key(self, key_id: KeyId) -> list[Session]:
        """All sessions of the key, also expired ones, in any order. The read is consistent."""

    def of_owner(
        self, owner: OwnerId, key_id: KeyId | None = None, limit: int | None = None
    ) -> list[SessionId]:
        """Up to `limit` sessions of the owner, or of that key of it. The read is consistent."""

    def end(self, session: SessionId, at: datetime) -> None:
        """Remove the session, and name it among those that were ended: both or nothing.

        Repeating the call does no harm.
        """

    def ended(self) -> list[EndedSession]:
        """The sessions that were ended and are not forgotten. The read is consistent."""

    def forget(self, ended: EndedSession) -> None:
        """Name it no more among those that were ended, unless it was ended again meanwhile."""


def end_sessions(
    owner: OwnerId,
    key_id: KeyId | None,
    *,
    sessions: SessionStore,
    clock: Clock,
    most: int | None = None,
) -> int:
    """End up to `most` sessions of the owner, or of that key of it; returns how many.

    A session that begins meanwhile may stay. Keys, and people, can sign in again.
    """
    found = sessions.of_owner(owner, key_id, most)
    for session in found:
        sessions.end(session, clock())
    return len(found)
