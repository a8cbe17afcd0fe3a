"""Sockets that may not be open any more: told why, closed, forgotten; the others are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.access import InMemoryKeyStore
from comfyline.adapters.memory.live import InMemoryConnectionStore, InMemorySockets
from comfyline.contract.ids import ConnectionId, JobId, KeyId, OwnerId
from comfyline.service.access.keys import ApiKey, Flags
from comfyline.service.errors import Unavailable
from comfyline.service.live.hang_up import Doorkeeper
from comfyline.service.live.sockets import Connection
from tests.support.builders import NOW, FrozenClock
from tests.support.ports import meanwhile, raising

JOB = JobId("job_1")
OFF = Flags(websocket_enabled=False)


class House:
    """Open sockets, their keys and the clients."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.clock = FrozenClock()
        self.connections = InMemoryConnectionStore()
        self.keys = InMemoryKeyStore()
        self.sockets = InMemorySockets()
        self.executor = executor

    def has_key(self, name: str, *, expires_at: datetime | None = None) -> KeyId:
        key = ApiKey(
            id=KeyId(name),
            secret_sha256="0" * 64,
            owner=OwnerId("fox"),
            scopes=frozenset({"jobs"}),
            created_at=NOW,
            expires_at=expires_at,
        )
        self.keys.put(key)
        return key.id

    def disable(self, key_id: KeyId) -> None:
        key = self.keys.get(key_id)
        assert key is not None
        self.keys.put(replace(key, disabled=True))

    def opens(self, name: str, key_id: KeyId) -> ConnectionId:
        """A socket that follows a job."""
        end = NOW + timedelta(hours=2)
        connection = Connection(ConnectionId(name), OwnerId("fox"), key_id, end)
        self.connections.open(connection)
        self.connections.subscribe(connection, JOB, since=NOW, limit=1)
        return connection.id

    def round(self, **ports: Any) -> int:
        mine = {
            "connections": self.connections,
            "keys": self.keys,
            "sockets": self.sockets,
            "clock": self.clock,
            "encode": lambda notice: notice.code.encode(),
            "executor": self.executor,
        }
        return Doorkeeper(**{**mine, **ports}).hang_up()

    def left(self) -> set[ConnectionId]:
        """Whose sockets are open, known and following."""
        known = {one for ids in self.connections.by_key().values() for one in ids}
        assert {one.id for one in self.connections.subscribers(JOB, NOW)} == known
        assert not known & self.sockets.closed
        return known

    def told(self, socket: ConnectionId) -> list[str]:
        """The codes that the client has heard."""
        return [body.decode() for body in self.sockets.sent[socket]]


@pytest.fixture
def house() -> Iterator[House]:
    with ThreadPoolExecutor(2) as executor:
        yield House(executor)


def test_those_of_a_disabled_key_are_told_closed_and_forgotten(house: House) -> None:
    good, bad = house.has_key("good"), house.has_key("bad")
    mine, theirs, others = house.opens("1", bad), house.opens("2", bad), house.opens("3", good)
    assert house.round() == 0
    house.disable(bad)
    assert house.round() == 2
    assert house.left() == {others}
    assert house.sockets.closed == {mine, theirs}
    assert [house.told(one) for one in (mine, theirs, others)] == [["key_void"], ["key_void"], []]
    assert house.round() == 0


def test_those_of_a_key_that_expires(house: House) -> None:
    key = house.has_key("short", expires_at=NOW + timedelta(minutes=1))
    socket = house.opens("1", key)
    house.clock.advance(timedelta(minutes=1) - timedelta.resolution)
    assert house.round() == 0
    house.clock.advance(timedelta.resolution)
    assert (house.round(), house.told(socket), house.left()) == (1, ["key_void"], set())


def test_those_of_a_key_that_is_gone(house: House) -> None:
    house.opens("1", KeyId("unknown"))
    assert (house.round(), house.left()) == (1, set())


def test_all_while_the_switch_is_off(house: House) -> None:
    sockets = {house.opens(str(n), house.has_key(f"key{n}")) for n in range(5)}
    house.keys.put_flags(OFF)
    assert (house.round(), house.left()) == (5, set())
    assert {code for one in sockets for code in house.told(one)} == {"sockets_disabled"}
    house.keys.put_flags(Flags())
    back = house.opens("back", house.has_key("key0"))
    assert (house.round(), house.left()) == (0, {back})


@pytest.mark.parametrize("client", ["gone", "slow"])
def test_a_client_that_cannot_be_told_is_closed_all_the_same(house: House, client: str) -> None:
    socket = house.opens("1", KeyId("unknown"))
    getattr(house.sockets, client).add(socket)
    assert (house.round(), house.left(), house.sockets.closed) == (1, set(), {socket})


@pytest.mark.parametrize("port", ["sockets", "connections"])
def test_one_that_cannot_be_closed_holds_up_no_other_and_is_closed_the_next_time(
    house: House, port: str
) -> None:
    for n in range(3):
        house.opens(str(n), KeyId("unknown"))
    throttled = meanwhile(getattr(house, port), "close", raising(Unavailable("throttled")))
    assert house.round(**{port: throttled}) == 2
    assert house.round() == 1
    assert house.left() == set()


def test_nobody_connected_costs_no_look_at_the_keys(house: House) -> None:
    class Unread(InMemoryKeyStore):
        def flags(self) -> Flags:
            raise AssertionError("read for nothing")

    assert house.round(keys=Unread()) == 0
