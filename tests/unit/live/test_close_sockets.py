"""Sockets that must not stay open get a notice and are closed; the others stay open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.access import InMemoryKeyStore, InMemorySessionStore
from comfyline.adapters.memory.live import InMemoryConnectionStore, InMemorySockets
from comfyline.contract.ids import ConnectionId, JobId, KeyId, OwnerId
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.sessions import SessionId
from comfyline.service.errors import Unavailable
from comfyline.service.live.close_sockets import LOOK_BACK, SKEW, SocketCloser
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from tests.support.builders import NOW, FrozenClock
from tests.support.ports import meanwhile, raising, wrapped
from tests.support.world import NEVER

JOB = JobId("job_1")


class World:
    """Open sockets, their keys and the clients."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.clock = FrozenClock()
        self.connections = InMemoryConnectionStore()
        self.keys = InMemoryKeyStore()
        self.sessions = InMemorySessionStore()
        self.sockets = InMemorySockets()
        self.executor = executor

    def new_key(self, name: str, *scopes: str, **known: Any) -> KeyId:
        key = ApiKey(
            id=KeyId(name),
            secret_sha256="0" * 64,
            owner=OwnerId("fox"),
            scopes=frozenset(scopes or {"jobs"}),
            created_at=NOW,
            **known,
        )
        self.keys.put(key)
        return key.id

    def disable(self, key_id: KeyId, *, at: datetime = NOW) -> None:
        key = self.keys.get(key_id)
        assert key is not None
        self.keys.put(replace(key, disabled_at=at))

    def open_socket(self, name: str, key_id: KeyId, session: str | None = None) -> ConnectionId:
        """A new socket, which is subscribed to a job."""
        end = NOW + timedelta(hours=2)
        connection = Connection(ConnectionId(name), OwnerId("fox"), key_id, end, session=session)
        self.connections.open(connection)
        self.connections.subscribe(connection, JOB, since=NOW, limit=1)
        return connection.id

    def closed(self, ends_at: datetime = NEVER, **ports: Any) -> int:
        """Run one round with these ports; returns the number of closed sockets."""
        own = {
            "connections": self.connections,
            "keys": self.keys,
            "sessions": self.sessions,
            "sockets": self.sockets,
            "clock": self.clock,
            "encode": lambda notice: notice.code.encode(),
            "executor": self.executor,
        }
        return SocketCloser(**{**own, **ports}).close_unwanted(ends_at)

    def open_sockets(self) -> set[ConnectionId]:
        """The stored sockets; each is open and has its subscription."""
        stored = {*self.connections.open_sockets()}
        assert {subscriber.id for subscriber in self.connections.subscribers(JOB, NOW)} == stored
        assert not stored & self.sockets.closed
        return stored

    def notices(self, socket: ConnectionId) -> list[str]:
        """The codes of the notices that the client has received."""
        return [body.decode() for body in self.sockets.sent[socket]]


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(2) as executor:
        yield World(executor)


def test_sockets_of_a_disabled_key_get_a_notice_and_are_closed(world: World) -> None:
    good, bad = world.new_key("good"), world.new_key("bad")
    void = [world.open_socket("1", bad), world.open_socket("2", bad)]
    valid = world.open_socket("3", good)
    assert world.closed() == 0
    world.disable(bad)
    assert world.closed() == 2
    assert world.open_sockets() == {valid}
    assert world.sockets.closed == {*void}
    assert [world.notices(socket) for socket in (*void, valid)] == [["key_void"], ["key_void"], []]
    assert world.closed() == 0


def test_sockets_of_a_key_are_closed_when_it_expires(world: World) -> None:
    key = world.new_key("short", expires_at=NOW + timedelta(minutes=1))
    socket = world.open_socket("1", key)
    world.clock.advance(timedelta(minutes=1) - timedelta.resolution)
    assert world.closed() == 0
    world.clock.advance(timedelta.resolution)
    assert (world.closed(), world.notices(socket), world.open_sockets()) == (1, ["key_void"], set())


def test_only_the_sockets_of_an_ended_session_are_closed(world: World) -> None:
    key = world.new_key("good")
    ended, other = "a" * 64, "b" * 64
    socket = world.open_socket("1", key, ended)
    kept = {world.open_socket("2", key, other), world.open_socket("3", key)}
    world.sessions.end(SessionId(OwnerId("fox"), key, ended), NOW)
    assert world.closed() == 1
    assert (world.open_sockets(), world.notices(socket)) == (kept, ["key_void"])


def test_a_socket_that_comes_after_the_end_of_its_session_is_closed_too(world: World) -> None:
    """It was allowed before, and its `$connect` was slow."""
    key, session = world.new_key("good"), "a" * 64
    world.sessions.end(SessionId(OwnerId("fox"), key, session), NOW)
    assert world.closed() == 0
    world.clock.advance(SKEW)
    world.open_socket("late", key, session)
    assert world.closed() == 1
    assert [*world.sessions.ended()]  # a round that has closed some is followed by one more
    assert world.closed() == 0
    assert world.sessions.ended() == []


def test_an_ended_session_is_not_forgotten_while_its_socket_cannot_be_closed(world: World) -> None:
    key, session = world.new_key("good"), "a" * 64
    socket = world.open_socket("1", key, session)
    world.sessions.end(SessionId(OwnerId("fox"), key, session), NOW)
    world.clock.advance(SKEW)
    assert world.closed(ends_at=NOW) == 0
    assert (world.open_sockets(), world.closed()) == ({socket}, 1)


@pytest.mark.parametrize("skew", [-SKEW, SKEW])
def test_the_clock_of_whoever_disables_a_key_may_be_wrong(world: World, skew: timedelta) -> None:
    key_id = world.new_key("bad")
    world.open_socket("1", key_id)
    world.disable(key_id, at=NOW + skew)
    assert world.closed() == 1


def test_a_key_that_was_enabled_again_keeps_its_sockets(world: World) -> None:
    """The list of void keys lags."""
    key_id = world.new_key("back")
    socket = world.open_socket("1", key_id)
    lagging = wrapped(
        world.keys,
        lambda name, call, *args: [key_id] if name == "void_between" else call(*args),
    )
    assert (world.closed(keys=lagging), world.open_sockets()) == (0, {socket})


def test_a_round_reads_the_sockets_of_void_keys_only(world: World) -> None:
    valid, bad = world.new_key("valid"), world.new_key("bad")
    for n in range(20):
        world.open_socket(str(n), valid)
    world.open_socket("bad", bad)
    world.disable(bad)
    read: list[object] = []

    def around(name: str, call: Callable[..., Any], *args: Any) -> Any:
        if name == "open_sockets":
            read.extend(args)
        return call(*args)

    assert world.closed(connections=wrapped(world.connections, around)) == 1
    assert read == [bad]


def test_a_key_is_looked_at_for_as_long_as_it_may_have_a_socket(world: World) -> None:
    key_id = world.new_key("old", expires_at=NOW)
    world.clock.advance(CONNECTION_LIFETIME)
    world.open_socket("1", key_id)  # the authorizer's last moment
    assert world.closed() == 1
    world.clock.advance(LOOK_BACK)
    assert world.keys.void_between(world.clock() - LOOK_BACK, world.clock()) == []


def test_all_sockets_are_closed_while_they_are_switched_off(world: World) -> None:
    sockets = {world.open_socket(str(n), world.new_key(f"key{n}")) for n in range(5)}
    world.keys.switch({"websocket_enabled": False}, NOW)
    assert (world.closed(), world.open_sockets()) == (5, set())
    assert {code for socket in sockets for code in world.notices(socket)} == {"sockets_disabled"}
    world.keys.switch({"websocket_enabled": True}, NOW)
    later = world.open_socket("later", world.new_key("key0"))
    assert (world.closed(), world.open_sockets()) == (0, {later})


@pytest.mark.parametrize("client", ["gone", "slow"])
def test_a_client_that_takes_no_notice_is_closed_too(world: World, client: str) -> None:
    socket = world.open_socket("1", world.new_key("void", expires_at=NOW))
    getattr(world.sockets, client).add(socket)
    assert (world.closed(), world.open_sockets(), world.sockets.closed) == (1, set(), {socket})


@pytest.mark.parametrize("port", ["sockets", "connections"])
def test_a_socket_that_cannot_be_closed_delays_no_other_and_is_closed_in_the_next_round(
    world: World, port: str
) -> None:
    void = world.new_key("void", expires_at=NOW)
    for n in range(3):
        world.open_socket(str(n), void)
    throttled = meanwhile(getattr(world, port), "close", raising(Unavailable("throttled")))
    assert world.closed(**{port: throttled}) == 2
    assert world.closed() == 1
    assert world.open_sockets() == set()


def test_sockets_of_keys_that_a_void_key_has_made_are_closed(world: World) -> None:
    maker, other = world.new_key("maker", "jobs", "keys"), world.new_key("other", "jobs", "keys")
    made = [world.new_key(f"made-{n}", made_by=by) for n, by in enumerate((maker, maker, other))]
    sockets = [world.open_socket(f"socket-{n}", key) for n, key in enumerate(made)]
    world.disable(maker)
    assert world.closed() == 2
    assert world.sockets.closed == {*sockets[:2]}
