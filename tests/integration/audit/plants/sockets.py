"""Inconsistencies in sockets, their subscriptions, passes and sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfyline.adapters.aws.attributes import time_of, ttl_of
from comfyline.adapters.aws.live.connections import open_shard
from comfyline.contract.ids import ConnectionId, random_job_id
from comfyline.operate.audit.source import Table
from comfyline.service.jobs.job import Job
from tests.integration.audit.plants.plant import DAY, found_as
from tests.support.audited import BEAR, BEAR_KEY, FOX_KEY, PASS, SESSION, Deployed
from tests.support.audited_stores import SOCKET


def _socket(d: Deployed, **attributes: Any) -> None:
    d.set(Table.CONNECTIONS, f"conn#{SOCKET}", "conn", **attributes)


def _subscription(d: Deployed, socket: str, job: Job) -> None:
    item = d.item(Table.CONNECTIONS, f"job#{d.jobs.running.id}", f"conn#{SOCKET}")
    keys = {"pk": {"S": f"job#{job.id}"}, "sk": {"S": f"conn#{socket}"}}
    d.put(Table.CONNECTIONS, item | keys)


@found_as("subscription", "shows a job of bear to a socket of fox")
def subscription_to_another_owners_job(d: Deployed) -> None:
    """Fox's socket is subscribed to bear's job."""
    _socket(d, jobs={"SS": sorted([d.jobs.running.id, d.jobs.of_bear.id])})
    _subscription(d, SOCKET, d.jobs.of_bear)


@found_as("subscription", "is not named by its socket")
def subscription_not_named(d: Deployed) -> None:
    """A subscription is not named in the row of its socket."""
    _subscription(d, SOCKET, d.jobs.queued)


@found_as("socket", "to which it is not subscribed", is_leftover=True)
def socket_names_a_job(d: Deployed) -> None:
    """The row of a socket names a job without a subscription."""
    _socket(d, jobs={"SS": sorted([d.jobs.running.id, d.jobs.queued.id])})


@found_as("subscription", "has no socket", is_leftover=True)
def subscription_without_socket(d: Deployed) -> None:
    """A subscription is left of a socket that is not there."""
    _subscription(d, "gone", d.jobs.running)


@found_as("subscription", "job that is not there", is_leftover=True)
def subscription_to_missing_job(d: Deployed) -> None:
    """A subscription is left of a job that is not there."""
    missing = replace(d.jobs.queued, id=random_job_id(d.now))
    _socket(d, jobs={"SS": sorted([d.jobs.running.id, missing.id])})
    _subscription(d, SOCKET, missing)


@found_as("subscription", "another TTL than its socket")
def subscription_for_a_week(d: Deployed) -> None:
    """A subscription outlives its socket by a week."""
    ttl = ttl_of(d.now + 7 * DAY)
    d.set(Table.CONNECTIONS, f"job#{d.jobs.running.id}", f"conn#{SOCKET}", ttl=ttl)


@found_as("subscription", "in the future")
def subscription_of_the_future(d: Deployed) -> None:
    """A subscription was made tomorrow."""
    since = time_of(d.now + DAY)
    d.set(Table.CONNECTIONS, f"job#{d.jobs.running.id}", f"conn#{SOCKET}", since=since)


@found_as("socket", "its key is of bear")
def socket_of_another_owners_key(d: Deployed) -> None:
    """A socket of fox's was opened with bear's key."""
    _socket(d, key_id={"S": BEAR_KEY})


@found_as("socket", "which does not exist")
def socket_of_missing_key(d: Deployed) -> None:
    """A socket was opened with a key that does not exist."""
    _socket(d, key_id={"S": "f" * 16})


@found_as("socket", "in the wrong shard")
def socket_in_the_wrong_shard(d: Deployed) -> None:
    """A socket is not in the index, so it stays open when its key is disabled."""
    _socket(d, open_shard=None)


@found_as("socket", "lives longer")
def socket_for_a_week(d: Deployed) -> None:
    """A socket lives for a week."""
    end = d.now + 7 * DAY
    _socket(d, expires_at=time_of(end), ttl=ttl_of(end))


@found_as("socket", "another TTL than its end")
def socket_with_another_ttl(d: Deployed) -> None:
    """The TTL of a socket is not its end."""
    _socket(d, ttl=ttl_of(d.now + 7 * DAY))


@found_as("socket", "no name of an owner")
def socket_of_a_reserved_owner(d: Deployed) -> None:
    """A socket is of an owner with a name that no caller can have."""
    _socket(d, owner={"S": "~waits"})


@found_as("socket", "is closed", is_leftover=True)
def socket_closed(d: Deployed) -> None:
    """The row of a socket is left that the gateway has closed."""
    item = d.item(Table.CONNECTIONS, f"conn#{SOCKET}", "conn")
    gone = {"pk": {"S": "conn#gone"}, "open_shard": open_shard(ConnectionId("gone"))}
    d.put(Table.CONNECTIONS, {n: v for n, v in (item | gone).items() if n != "jobs"})


@found_as("socket", "cannot be read")
def socket_unreadable(d: Deployed) -> None:
    """The row of a socket has no owner."""
    _socket(d, owner=None)


@found_as("pass", "valid for too long")
def pass_for_a_day(d: Deployed) -> None:
    """A socket pass is valid for a day."""
    end = d.now + DAY
    d.set(Table.CONNECTIONS, f"pass#{PASS}", "pass", expires_at=time_of(end), ttl=ttl_of(end))


@found_as("pass", "but its key is of bear")
def pass_of_another_owners_key(d: Deployed) -> None:
    """A socket pass of fox's has bear's key."""
    d.set(Table.CONNECTIONS, f"pass#{PASS}", "pass", key_id={"S": BEAR_KEY})


@found_as("pass", "another TTL")
def pass_without_ttl(d: Deployed) -> None:
    """A socket pass has no TTL."""
    d.set(Table.CONNECTIONS, f"pass#{PASS}", "pass", ttl=None)


@found_as("pass", "no SHA-256")
def pass_of_a_strange_name(d: Deployed) -> None:
    """The name of a socket pass is no SHA-256."""
    item = d.item(Table.CONNECTIONS, f"pass#{PASS}", "pass")
    d.put(Table.CONNECTIONS, item | {"pk": {"S": "pass#secret"}})


@found_as("link", "valid for too long")
def link_for_a_day(d: Deployed) -> None:
    """A link that signs in is valid for a day."""
    end = d.now + DAY
    d.set(Table.CONNECTIONS, f"link#{PASS}", "link", expires_at=time_of(end), ttl=ttl_of(end))


@found_as("session", "valid for too long")
def session_for_a_week(d: Deployed) -> None:
    """A session lives for a week."""
    end = d.now + 7 * DAY
    _session(d, expires_at=time_of(end), ttl=ttl_of(end))


@found_as("session", "but its key is of fox")
def session_of_another_owners_key(d: Deployed) -> None:
    """A session of bear's has fox's key."""
    _session(d, owner={"S": BEAR})


def _session(d: Deployed, **attributes: Any) -> None:
    d.set(Table.CONNECTIONS, f"session#{FOX_KEY}", f"session#{SESSION}", **attributes)
