"""What every ConnectionStore does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import ConnectionId, JobId, KeyId, random_job_id
from comfyline.service.errors import ConnectionGone, TooManySubscriptions
from comfyline.service.live.sockets import Connection, ConnectionStore, Subscriber
from tests.support.builders import NOW, an_owner

JOB = random_job_id(NOW)
OTHER_JOB = random_job_id(NOW)
END = NOW + timedelta(hours=2)


def an_open_one(store: ConnectionStore, name: str = "c1=") -> Connection:
    connection = Connection(ConnectionId(name), an_owner(), KeyId("key_1"), END)
    store.open(connection)
    return connection


def subscribe(store: ConnectionStore, one: Connection, job: JobId = JOB, limit: int = 10) -> None:
    store.subscribe(one, job, since=NOW, limit=limit)


def following(store: ConnectionStore, job: JobId = JOB) -> list[str]:
    return sorted(subscriber.id for subscriber in store.subscribers(job, NOW))


class TestConnectionStore:
    def test_an_open_socket_is_known(self, connection_store: ConnectionStore) -> None:
        connection = an_open_one(connection_store)
        assert connection_store.get(connection.id) == connection

    def test_a_closed_socket_is_not(self, connection_store: ConnectionStore) -> None:
        connection = an_open_one(connection_store)
        connection_store.close(connection.id)
        connection_store.close(connection.id)
        assert connection_store.get(connection.id) is None

    def test_subscribers_are_those_of_the_job(self, connection_store: ConnectionStore) -> None:
        one, two, other = (an_open_one(connection_store, name) for name in ("one", "two", "other"))
        subscribe(connection_store, one)
        subscribe(connection_store, two)
        subscribe(connection_store, two)
        subscribe(connection_store, other, OTHER_JOB)
        assert following(connection_store) == [one.id, two.id]
        assert Subscriber(one.id, NOW) in connection_store.subscribers(JOB, NOW)

    def test_nobody_follows_an_unknown_job(self, connection_store: ConnectionStore) -> None:
        assert connection_store.subscribers(JOB, NOW) == []

    def test_unsubscribe(self, connection_store: ConnectionStore) -> None:
        one, two = an_open_one(connection_store, "one"), an_open_one(connection_store, "two")
        subscribe(connection_store, one)
        subscribe(connection_store, two)
        connection_store.unsubscribe(one.id, JOB)
        connection_store.unsubscribe(one.id, OTHER_JOB)
        connection_store.unsubscribe(ConnectionId("nobody"), JOB)
        assert following(connection_store) == [two.id]
        assert connection_store.get(ConnectionId("nobody")) is None

    def test_closing_forgets_all_that_it_followed(self, connection_store: ConnectionStore) -> None:
        one, two = an_open_one(connection_store, "one"), an_open_one(connection_store, "two")
        for connection in (one, two):
            subscribe(connection_store, connection)
            subscribe(connection_store, connection, OTHER_JOB)
        connection_store.close(one.id)
        assert following(connection_store) == following(connection_store, OTHER_JOB) == [two.id]

    def test_a_closed_socket_cannot_subscribe(self, connection_store: ConnectionStore) -> None:
        connection = an_open_one(connection_store)
        connection_store.close(connection.id)
        with pytest.raises(ConnectionGone):
            subscribe(connection_store, connection)
        assert following(connection_store) == []

    def test_so_many_jobs_and_no_more(self, connection_store: ConnectionStore) -> None:
        connection = an_open_one(connection_store)
        subscribe(connection_store, connection, JOB, limit=1)
        subscribe(connection_store, connection, JOB, limit=1)
        with pytest.raises(TooManySubscriptions, match="at most 1"):
            subscribe(connection_store, connection, OTHER_JOB, limit=1)
        assert following(connection_store, OTHER_JOB) == []
        connection_store.unsubscribe(connection.id, JOB)
        subscribe(connection_store, connection, OTHER_JOB, limit=1)
        assert following(connection_store, OTHER_JOB) == [connection.id]

    def test_past_its_end_a_socket_is_nobodys(self, connection_store: ConnectionStore) -> None:
        connection = an_open_one(connection_store)
        subscribe(connection_store, connection)
        assert connection_store.subscribers(JOB, END + timedelta(seconds=1)) == []

    def test_open_sockets_are_found_by_their_key(self, connection_store: ConnectionStore) -> None:
        assert connection_store.by_key() == {}
        opened: dict[str, set[str]] = {"key_1": set(), "key_2": set()}
        for n in range(20):
            key_id = KeyId(f"key_{n % 2 + 1}")
            connection = Connection(ConnectionId(f"c{n}="), an_owner(), key_id, END)
            connection_store.open(connection)
            opened[key_id].add(connection.id)
        subscribe(connection_store, connection)
        connection_store.close(ConnectionId("c0="))
        found = {key: set(ids) for key, ids in connection_store.by_key().items()}
        assert found == {**opened, "key_1": opened["key_1"] - {"c0="}}
