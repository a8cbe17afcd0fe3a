"""What every ConnectionStore does."""

from __future__ import annotations

from datetime import timedelta

from comfyline.domain.ids import ConnectionId, KeyId, random_job_id
from comfyline.ports import Connection, ConnectionStore
from tests.support.builders import NOW, an_owner

JOB = random_job_id(NOW)
OTHER_JOB = random_job_id(NOW)


def a_connection(name: str = "c1=") -> Connection:
    return Connection(ConnectionId(name), an_owner(), KeyId("key_1"), NOW + timedelta(hours=2))


class TestConnectionStore:
    def test_an_open_socket_is_known(self, connection_store: ConnectionStore) -> None:
        connection = a_connection()
        connection_store.open(connection)
        assert connection_store.get(connection.id) == connection

    def test_a_closed_socket_is_not(self, connection_store: ConnectionStore) -> None:
        connection = a_connection()
        connection_store.open(connection)
        connection_store.close(connection.id)
        connection_store.close(connection.id)
        assert connection_store.get(connection.id) is None

    def test_subscribers_are_those_of_the_job(self, connection_store: ConnectionStore) -> None:
        one, two, other = a_connection("one"), a_connection("two"), a_connection("other")
        connection_store.subscribe(one, JOB)
        connection_store.subscribe(two, JOB)
        connection_store.subscribe(two, JOB)
        connection_store.subscribe(other, OTHER_JOB)
        assert sorted(connection_store.subscribers(JOB)) == [one.id, two.id]

    def test_nobody_follows_an_unknown_job(self, connection_store: ConnectionStore) -> None:
        assert connection_store.subscribers(JOB) == []

    def test_unsubscribe(self, connection_store: ConnectionStore) -> None:
        one, two = a_connection("one"), a_connection("two")
        connection_store.subscribe(one, JOB)
        connection_store.subscribe(two, JOB)
        connection_store.unsubscribe(one.id, JOB)
        connection_store.unsubscribe(one.id, OTHER_JOB)
        assert connection_store.subscribers(JOB) == [two.id]

    def test_a_subscription_is_no_socket(self, connection_store: ConnectionStore) -> None:
        connection = a_connection()
        connection_store.subscribe(connection, JOB)
        assert connection_store.get(connection.id) is None
