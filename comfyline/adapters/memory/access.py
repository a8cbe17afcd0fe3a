"""Keys, switches, tokens, sessions, socket passes, slots, budgets and semaphores in memory.

Python reads and writes one item of a dictionary at once, so only longer steps hold a lock.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import nsmallest
from threading import RLock

from comfyline.contract.ids import JobId, KeyId, OwnerId
from comfyline.service.access.budgets import Budget, window_of
from comfyline.service.access.keys import ApiKey, Flags, Switches, SwitchesChanged
from comfyline.service.access.semaphore import Share
from comfyline.service.access.sessions import EndedSession, Session, SessionId
from comfyline.service.access.slots import (
    Allowance,
    Limits,
    Occupancy,
    Refusal,
    Slot,
    minute_of,
)
from comfyline.service.access.socket_passes import SocketPass
from comfyline.service.access.tokens import Token


class InMemoryKeyStore:
    """`KeyStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._switches = Switches()
        self._keys: dict[KeyId, ApiKey] = {}
        self._watched: dict[OwnerId, datetime] = {}

    def get(self, key_id: KeyId) -> ApiKey | None:
        """See KeyStore."""
        return self._keys.get(key_id)

    def get_many(self, key_ids: Sequence[KeyId]) -> list[ApiKey]:
        """See KeyStore."""
        return [self._keys[key_id] for key_id in key_ids if key_id in self._keys]

    def put(self, key: ApiKey) -> None:
        """See KeyStore."""
        self._keys[key.id] = key

    def owners(self) -> list[OwnerId]:
        """See KeyStore."""
        return sorted({key.owner for key in self.all()})

    def page(self, limit: int, after: KeyId | None) -> tuple[list[ApiKey], KeyId | None]:
        """See KeyStore."""
        keys = sorted(key for key in [*self._keys] if after is None or key > after)
        more = keys[limit - 1] if len(keys) > limit else None
        return self.get_many(keys[:limit]), more

    def of_owner(self, owner: OwnerId) -> list[ApiKey]:
        """See KeyStore."""
        return [key for key in self.all() if key.owner == owner]

    def change(self, key_id: KeyId, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """See KeyStore."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is None:
                return None
            changed = change(key)
            if changed == key:
                return key
            self._keys[key_id] = replace(changed, revision=key.revision + 1)
            return self._keys[key_id]

    def replace(self, key_id: KeyId, change: Callable[[ApiKey], ApiKey], by: ApiKey) -> bool:
        """See KeyStore."""
        with self._lock:
            if self.change(key_id, change) is None:
                return False
            self._keys[by.id] = by
            return True

    def delete(self, key_id: KeyId) -> None:
        """See KeyStore."""
        self._keys.pop(key_id, None)

    def void_between(self, start: datetime, end: datetime) -> list[KeyId]:
        """See KeyStore."""
        ends = [(key.id, key.void_at) for key in self._keys.values()]
        return [key_id for key_id, at in ends if at is not None and start <= at <= end]

    def all(self) -> list[ApiKey]:
        """See KeyStore."""
        return sorted([*self._keys.values()], key=lambda key: (key.created_at, key.id))

    def watch_owner(self, owner: OwnerId, until: datetime) -> None:
        """See KeyStore."""
        self._watched[owner] = max(until, self._watched.get(owner, until))

    def owner_watched_until(self, owner: OwnerId) -> datetime | None:
        """See KeyStore."""
        return self._watched.get(owner)

    def flags(self) -> Flags:
        """See KeyStore."""
        return self._switches.flags

    def switches(self) -> Switches:
        """See KeyStore."""
        return self._switches

    def switch(
        self, changes: Mapping[str, bool], at: datetime, by: str = "", *, seen: int | None = None
    ) -> Switches:
        """See KeyStore."""
        with self._lock:
            before = self._switches
            if seen not in (None, before.version):
                raise SwitchesChanged(before)
            flags = replace(before.flags, **changes)
            self._switches = Switches(flags, before.version + 1, at, by)
            return self._switches


class InMemorySocketPassStore:
    """`SocketPassStore` in memory."""

    def __init__(self) -> None:
        self._passes: dict[str, SocketPass] = {}

    def put(self, socket_pass: SocketPass) -> None:
        """See SocketPassStore."""
        self._passes[socket_pass.sha256] = socket_pass

    def take(self, sha256: str) -> SocketPass | None:
        """See SocketPassStore."""
        return self._passes.pop(sha256, None)


class InMemoryTokenStore:
    """`TokenStore` in memory."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}

    def put(self, token: Token) -> None:
        """See TokenStore."""
        self._tokens[token.sha256] = token

    def get(self, sha256: str) -> Token | None:
        """See TokenStore."""
        return self._tokens.get(sha256)


class InMemorySessionStore:
    """`SessionStore` in memory."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[KeyId, str], Session] = {}
        self._ended: dict[SessionId, EndedSession] = {}

    def put(self, session: Session) -> None:
        """See SessionStore."""
        self._sessions[session.key_id, session.sha256] = session

    def get(self, key_id: KeyId, sha256: str) -> Session | None:
        """See SessionStore."""
        return self._sessions.get((key_id, sha256))

    def of_key(self, key_id: KeyId) -> list[Session]:
        """See SessionStore."""
        return [one for one in [*self._sessions.values()] if one.key_id == key_id]

    def of_owner(
        self, owner: OwnerId, key_id: KeyId | None = None, limit: int | None = None
    ) -> list[SessionId]:
        """See SessionStore."""
        found = [one.id for one in [*self._sessions.values()] if one.owner == owner]
        return [one for one in found if key_id is None or one.key_id == key_id][:limit]

    def end(self, session: SessionId, at: datetime) -> None:
        """See SessionStore."""
        self._sessions.pop((session.key_id, session.sha256), None)
        self._ended[session] = EndedSession(session, at)

    def ended(self) -> list[EndedSession]:
        """See SessionStore."""
        return [*self._ended.values()]

    def forget(self, ended: EndedSession) -> None:
        """See SessionStore."""
        if self._ended.get(ended.id) == ended:
            del self._ended[ended.id]


class InMemoryAllowanceStore:
    """`AllowanceStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._made: defaultdict[str, set[JobId]] = defaultdict(set)

    def use(self, allowance: Allowance, job_id: JobId) -> bool:
        """See AllowanceStore."""
        with self._lock:
            made = self._made[allowance.token]
            if job_id not in made and len(made) >= allowance.max_jobs:
                return False
            made.add(job_id)
        return True


@dataclass(slots=True)
class _Owner:
    slots: set[Slot] = field(default_factory=set)
    minute: int = 0
    posts: int = 0


class InMemoryOwnerStore:
    """`OwnerStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._owners: defaultdict[OwnerId, _Owner] = defaultdict(_Owner)

    def take_slot(
        self, owner: OwnerId, slot: Slot, limits: Limits, now: datetime
    ) -> Refusal | None:
        """See OwnerStore."""
        cap, rate = limits.max_active_jobs, limits.jobs_per_minute
        with self._lock:
            row = self._owners[owner]
            minute = max(minute_of(now), row.minute)  # clocks differ: never back to an older one
            posts = row.posts if row.minute == minute else 0
            if cap is not None and len(row.slots) >= cap:
                return Refusal.CAP
            if rate is not None and posts >= rate:
                return Refusal.RATE
            row.minute, row.posts = minute, posts + 1
            if cap is not None:
                row.slots.add(slot)
        return None

    def move_slot(self, owner: OwnerId, slot: Slot, to: Slot) -> bool:
        """See OwnerStore."""
        with self._lock:
            slots = self._owners[owner].slots
            if slot not in slots:
                return False
            slots.remove(slot)
            slots.add(to)
        return True

    def free_slot(self, owner: OwnerId, slot: Slot) -> None:
        """See OwnerStore."""
        with self._lock:
            self._owners[owner].slots.discard(slot)

    def occupancy(self, owner: OwnerId, now: datetime) -> Occupancy:
        """See OwnerStore."""
        with self._lock:
            row = self._owners[owner]
            return Occupancy(len(row.slots), row.posts if row.minute == minute_of(now) else 0)

    def oldest_slots(self, owner: OwnerId, limit: int) -> list[Slot]:
        """See OwnerStore."""
        with self._lock:
            slots = self._owners[owner].slots
            return nsmallest(limit, slots, key=lambda slot: (slot.queued_at, slot.job_id))

    def slots(self, shard: int) -> list[tuple[OwnerId, Slot]]:
        """See OwnerStore. All owners are in shard 0."""
        with self._lock:
            rows = self._owners.items() if shard == 0 else ()
            return [(owner, slot) for owner, row in rows for slot in row.slots]


class InMemoryBudgetStore:
    """`BudgetStore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._used: dict[tuple[OwnerId, str], tuple[int, int]] = {}  # a window, and its use

    def spend(self, owner: OwnerId, budget: Budget, amount: int, limit: int, now: datetime) -> bool:
        """See BudgetStore."""
        key, window = (owner, budget.name), window_of(budget, now)
        with self._lock:
            stored, used = self._used.get(key, (window, 0))
            used = used if stored >= window else 0
            if used + amount > limit:
                return False
            self._used[key] = max(stored, window), used + amount
        return True


class InMemorySemaphore:
    """`Semaphore` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._places: dict[str, tuple[datetime, Share | None]] = {}

    def enter(
        self, limit: int, *, now: datetime, until: datetime, share: Share | None = None
    ) -> str | None:
        """See Semaphore."""
        with self._lock:
            self._places = {name: held for name, held in self._places.items() if held[0] > now}
            held = [other for _, other in self._places.values() if other]
            own = [other.thing for other in held if share and other.owner == share.owner]
            is_over = share is not None and (len(own) >= share.places or share.thing in own)
            if is_over or len(self._places) >= limit:
                return None
            place = secrets.token_hex(8)
            self._places[place] = until, share
            return place

    def leave(self, place: str) -> None:
        """See Semaphore."""
        with self._lock:
            self._places.pop(place, None)
