"""Sessions: a person is signed in at the console. The value, and its store's port.

    key ──> session (a cookie, 12 h) ──> bearer (in the page's memory, 10 min, renewed)

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

# A working day. It is not extended by use, so a stolen cookie is of no use after it.
SESSION_LIFETIME = timedelta(hours=12)
# The bearer is what a script in the page can read.
BEARER_LIFETIME = timedelta(minutes=10)
# From the start of the service to the person who opens the link that was printed.
LINK_LIFETIME = timedelta(minutes=10)
# Of a key. One more ends the oldest, so that a key that is used in a loop fills no table.
MAX_SESSIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as the store keeps it: with the hash of its secret, without the secret itself."""

    sha256: str
    owner: OwnerId
    key_id: KeyId
    created_at: datetime
    expires_at: datetime
    vouched: ApiKey | None = None  # the key, where it is a person's, which no store has


class SessionStore(Protocol):
    """Stores sessions until they end."""

    def put(self, session: Session) -> None:
        """Store a session."""

    def get(self, key_id: KeyId, sha256: str) -> Session | None:
        """The session, also if it has expired; None if it is not there. The read is consistent."""

    def of_key(self, key_id: KeyId) -> list[Session]:
        """All sessions of the key, also expired ones, in any order. The read is consistent."""

    def delete(self, session: Session) -> None:
        """Remove the session if it is there."""
