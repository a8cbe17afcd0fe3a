"""What an audit reads, and the times by which it judges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from comfyline.adapters.aws.attributes import Item, read_ttl
from comfyline.contract.ids import ConnectionId
from comfyline.service.clock import Clock

# Items that changed within this time are not judged. It covers the time between two writes of one
# change.
GRACE = timedelta(minutes=2)
SWEEP_LAG = timedelta(minutes=3)  # the sweeper starts every minute and may run for a minute
TTL_LAG = timedelta(days=3)  # DynamoDB deletes an expired item within a few days, says its manual
LIFECYCLE_LAG = timedelta(days=3)  # S3 deletes an expired object within a day or two
LEASE = timedelta(seconds=120)  # of a worker, unless its deployment has another

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Table(StrEnum):
    """The tables of a deployment."""

    JOBS = "jobs"
    OWNERS = "owners"
    CONNECTIONS = "connections"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the bucket."""

    key: str
    bytes: int
    stored_at: datetime


class Source(Protocol):
    """A deployment, read only. Reads of tables are consistent."""

    def items(self, table: Table) -> Iterable[Item]:
        """Every item of a table, in any order, a page at a time."""

    def item(self, table: Table, pk: str, sk: str) -> Item | None:
        """One item; None if it is not there."""

    def query(self, table: Table, pk: str, prefix: str = "") -> Iterable[Item]:
        """The items of one partition, a page at a time; their sort keys begin with `prefix`."""

    def created_at(self, table: Table) -> datetime:
        """When the table was created."""

    def files(self) -> Iterable[StoredFile]:
        """Every file in the bucket, a page at a time."""

    def sha256(self, key: str) -> str | None:
        """The SHA-256 of a file's bytes, in hexadecimal digits; None if it is not there."""

    def is_open(self, connection_id: ConnectionId) -> bool:
        """Whether the gateway holds the socket open."""

    def tickets(self) -> int:
        """The number of tickets in all lanes, waiting or held by a worker."""

    def dead_tickets(self) -> int:
        """The number of tickets in the dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The times of one audit. `began_at` is when it began to read."""

    clock: Clock
    began_at: datetime
    grace: timedelta = GRACE
    lease: timedelta = LEASE

    @property
    def settled(self) -> datetime:
        """Changes that began before this time are complete."""
        return self.began_at - self.grace

    def is_never_removed(self, ends_at: datetime | None) -> bool:
        """Whether an item has no TTL, or DynamoDB should have deleted it long ago."""
        return ends_at is None or ends_at + TTL_LAG < self.began_at


def ttl_in(item: Item) -> datetime | None:
    """The TTL of an item; None if it has none."""
    return read_ttl(item["ttl"]) if "ttl" in item else None


def name_of(item: Any) -> str:
    """The primary key of an item, as a text."""
    parts = (item.get(name, {}) for name in ("pk", "sk"))
    return " ".join(str(part["S"]) for part in parts if "S" in part)


def micro(time: datetime | None) -> int | None:
    """A time for the index: microseconds since 1970, so that SQLite can compare times."""
    return None if time is None else (time - _EPOCH) // timedelta.resolution


def time_at(microseconds: int) -> datetime:
    """The time that `micro` wrote."""
    return _EPOCH + timedelta(microseconds=microseconds)
