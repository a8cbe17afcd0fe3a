"""The connections table: check sockets, subscriptions and secrets alone, and note them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from comfyline.adapters.aws.access.sessions import ended_of, session_of
from comfyline.adapters.aws.access.socket_passes import pass_of
from comfyline.adapters.aws.access.tokens import token_of
from comfyline.adapters.aws.attributes import Item, read_time, ttl_of
from comfyline.adapters.aws.live.connections import connection_of, open_shard
from comfyline.contract.ids import ConnectionId, OwnerId
from comfyline.contract.limits import MAX_SUBSCRIPTIONS, MAX_TOKEN_SECONDS
from comfyline.operate.audit.findings import Finding, Fix
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import Source, Table, Terms, micro, name_of, ttl_in
from comfyline.service.access.authenticate import OWNER_PATTERN, SOCKET_PASS_LIFETIME
from comfyline.service.access.sessions import LINK_LIFETIME, SESSION_LIFETIME, Session
from comfyline.service.access.socket_passes import SocketPass
from comfyline.service.access.tokens import Token
from comfyline.service.jobs.invariants import CLOCK_SKEW
from comfyline.service.live.sockets import CONNECTION_LIFETIME, OWNER_PREFIX, jobs_of

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Live:
    """Checks the connections table."""

    def __init__(self, source: Source, index: Index, terms: Terms) -> None:
        self._source, self._index, self._terms = source, index, terms
        self.open_sockets = 0

    def findings(self) -> Iterator[Finding]:
        """Read the table, fill the index, and check every item alone."""
        for item in self._source.items(Table.CONNECTIONS):
            try:
                yield from self._of_item(item)
            except Exception as error:  # noqa: BLE001 one damaged item must not hide the others
                yield Finding("socket", name_of(item), f"cannot be read: {error!r:.200}")

    def _of_item(self, item: Item) -> Iterator[Finding]:
        kinds = {
            "conn": self._of_socket,
            "job": self._of_subscription,
            "owner": self._of_owners_jobs,
            "pass": self._of_pass,
            "link": self._of_link,
            "session": self._of_session,
            "sessions": self._of_listed_session,
            "ended": self._of_ended_session,
            "token": self._of_token,
        }
        return kinds[item["pk"]["S"].partition("#")[0]](item)

    def _of_socket(self, item: Item) -> Iterator[Finding]:
        socket = connection_of(item)
        followed = item.get("jobs", {}).get("SS", [])
        for job_id in followed:
            if job_id.startswith(OWNER_PREFIX):
                yield from _of_another_owner(socket.id, job_id, socket.owner)
                continue
            self._index.add("follows", socket=socket.id, job_id=job_id)
        self._index.add(
            "sockets",
            id=socket.id,
            owner=socket.owner,
            key_id=socket.key_id,
            ends_at=micro(socket.expires_at),
        )
        is_open = self._source.is_open(socket.id)
        self.open_sockets += is_open
        if self._terms.is_never_removed(ttl_in(item)):
            yield Finding("socket", socket.id, "should have been deleted by its TTL")
        elif not is_open:
            yield Finding("socket", socket.id, "is closed", True, Fix.CLOSE_SOCKET, (socket.id,))
        if item.get("ttl") != ttl_of(socket.expires_at):
            yield Finding("socket", socket.id, "has another TTL than its end")
        if socket.expires_at > self._terms.clock() + CONNECTION_LIFETIME + CLOCK_SKEW:
            yield Finding("socket", socket.id, "lives longer than the gateway keeps a socket")
        if item.get("open_shard") != open_shard(socket.id):
            text = "is in the wrong shard, so nothing closes it when its key is disabled"
            yield Finding("socket", socket.id, text)
        if not re.fullmatch(OWNER_PATTERN, socket.owner):
            text = f"is of {socket.owner!r}, which is no name of an owner"
            yield Finding("socket", socket.id, text)
        if len(followed) > MAX_SUBSCRIPTIONS:
            yield Finding("socket", socket.id, f"follows {len(followed)} jobs")

    def _of_subscription(self, item: Item) -> Iterator[Finding]:
        job_id = item["pk"]["S"].removeprefix("job#")
        socket = item["sk"]["S"].removeprefix("conn#")
        since, ends_at = read_time(item["since"]), ttl_in(item)
        self._index.add("subscriptions", socket=socket, job_id=job_id, ends_at=micro(ends_at))
        yield from self._of_times(f"{socket} {job_id}", since, ends_at)

    def _of_owners_jobs(self, item: Item) -> Iterator[Finding]:
        subject = f"{item['sk']['S'].removeprefix('conn#')} {item['pk']['S']}"
        yield from self._of_times(subject, read_time(item["since"]), ttl_in(item))

    def _of_times(
        self, subject: str, since: datetime, ends_at: datetime | None
    ) -> Iterator[Finding]:
        if self._terms.is_never_removed(ends_at):
            yield Finding("subscription", subject, "should have been deleted by its TTL")
        if since > self._terms.clock() + CLOCK_SKEW:
            yield Finding("subscription", subject, "was made in the future")

    def _of_pass(self, item: Item) -> Iterator[Finding]:
        yield from self._of_secret("pass", pass_of(item), item, SOCKET_PASS_LIFETIME)

    def _of_link(self, item: Item) -> Iterator[Finding]:
        yield from self._of_secret("link", pass_of(item), item, LINK_LIFETIME)

    def _of_session(self, item: Item) -> Iterator[Finding]:
        yield from self._of_secret("session", session_of(item), item, SESSION_LIFETIME)

    def _of_listed_session(self, item: Item) -> Iterator[Finding]:
        if self._terms.is_never_removed(ttl_in(item)):
            yield Finding("session", name_of(item), "should have been deleted by its TTL")

    def _of_ended_session(self, item: Item) -> Iterator[Finding]:
        ended_of(item)
        yield from self._of_listed_session(item)

    def _of_token(self, item: Item) -> Iterator[Finding]:
        longest = timedelta(seconds=MAX_TOKEN_SECONDS)
        yield from self._of_secret("token", token_of(item), item, longest)

    def _of_secret(
        self, kind: str, found: SocketPass | Token | Session, item: Item, longest: timedelta
    ) -> Iterator[Finding]:
        subject = f"{kind} {found.sha256}"
        if not _SHA256.fullmatch(found.sha256):
            yield Finding(kind, subject, "has no SHA-256 of a secret")
        if item.get("ttl") != ttl_of(found.expires_at):
            yield Finding(kind, subject, "has another TTL than its end")
        elif self._terms.is_never_removed(ttl_in(item)):
            yield Finding(kind, subject, "should have been deleted by its TTL")
        if found.expires_at > self._terms.clock() + longest + CLOCK_SKEW:
            yield Finding(kind, subject, "is valid for too long")
        yield from self._of_key(kind, found.owner, found.key_id, subject)

    def _of_key(self, kind: str, owner: str, key_id: str, subject: str) -> Iterator[Finding]:
        query = "SELECT owner FROM keys WHERE id = :id"
        for row in self._index.rows(query, {"id": key_id}):
            if row["owner"] != owner:
                yield Finding(kind, subject, f"is of {owner}, but its key is of {row['owner']}")


def _of_another_owner(socket: ConnectionId, topic: str, owner: OwnerId) -> Iterator[Finding]:
    if topic != jobs_of(owner):
        yield Finding("socket", socket, f"is of {owner} and follows {topic}")
