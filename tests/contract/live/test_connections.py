"""What every ConnectionStore does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.aws.live.connections import (
    OPEN_SHARDS,
    SAMPLED_SOCKETS,
    DynamoConnectionStore,
)
from comfyline.contract.ids import ConnectionId, JobId, KeyId, random_job_id
from comfyline.service.errors import ConnectionGone, TooManySubscriptions
from comfyline.service.live.sockets import Connection, ConnectionStore, Subscriber, jobs_of
from tests.contract.conftest import AwsClient
from tests.support.aws import create_connections_table
from tests.support.builders import NOW, an_owner

JOB = random_job_id(NOW)
OTHER_JOB = random_job_id(NOW)
END = NOW + timedelta(hours=2)


def an_open_socket(store: ConnectionStore, name: str = "c1=") -> Connection:
    connection = Connection(ConnectionId(name), an_owner(), KeyId("key_1"), END)
    store.open(connection)
    return connection


def subscribe(
    store: ConnectionStore, socket: Connection, job: JobId = JOB, limit: int = 10
) -> None:
    store.subscribe(socket, job, since=NOW, limit=limit)


def subscribers(store: ConnectionStore, job: JobId = JOB) -> list[str]:
    return sorted(subscriber.id for subscriber in store.subscribers(job, NOW))


class TestConnectionStore:
    def test_an_open_socket_is_found(self, connection_store: ConnectionStore) -> None:
        connection = an_open_socket(connection_store)
        assert connection_store.get(connection.id) == connection

    def test_a_closed_socket_is_not_found(self, connection_store: ConnectionStore) -> None:
        connection = an_open_socket(connection_store)
        connection_store.close(connection.id)
        connection_store.close(connection.id)
        assert connection_store.get(connection.id) is None

    def test_subscribers_are_those_of_the_job(self, connection_store: ConnectionStore) -> None:
        first, second, third = (an_open_socket(connection_store, name) for name in "123")
        subscribe(connection_store, first)
        subscribe(connection_store, second)
        subscribe(connection_store, second)
        subscribe(connection_store, third, OTHER_JOB)
        assert subscribers(connection_store) == [first.id, second.id]
        assert Subscriber(first.id, NOW) in connection_store.subscribers(JOB, NOW)

    def test_an_unknown_job_has_no_subscribers(self, connection_store: ConnectionStore) -> None:
        assert connection_store.subscribers(JOB, NOW) == []

    def test_an_unsubscribed_socket_is_no_subscriber(
        self, connection_store: ConnectionStore
    ) -> None:
        first, second = (an_open_socket(connection_store, name) for name in "12")
        subscribe(connection_store, first)
        subscribe(connection_store, second)
        connection_store.unsubscribe(first.id, JOB)
        connection_store.unsubscribe(first.id, OTHER_JOB)
        connection_store.unsubscribe(ConnectionId("unknown"), JOB)
        assert subscribers(connection_store) == [second.id]
        assert connection_store.get(ConnectionId("unknown")) is None

    def test_closing_a_socket_deletes_its_subscriptions(
        self, connection_store: ConnectionStore
    ) -> None:
        first, second = (an_open_socket(connection_store, name) for name in "12")
        for connection in (first, second):
            subscribe(connection_store, connection)
            subscribe(connection_store, connection, OTHER_JOB)
        connection_store.close(first.id)
        assert (
            subscribers(connection_store) == subscribers(connection_store, OTHER_JOB) == [second.id]
        )

    def test_a_closed_socket_cannot_subscribe(self, connection_store: ConnectionStore) -> None:
        connection = an_open_socket(connection_store)
        connection_store.close(connection.id)
        with pytest.raises(ConnectionGone):
            subscribe(connection_store, connection)
        assert subscribers(connection_store) == []

    def test_more_subscriptions_than_the_limit_are_refused(
        self, connection_store: ConnectionStore
    ) -> None:
        connection = an_open_socket(connection_store)
        subscribe(connection_store, connection, JOB, limit=1)
        subscribe(connection_store, connection, JOB, limit=1)
        with pytest.raises(TooManySubscriptions, match="at most 1"):
            subscribe(connection_store, connection, OTHER_JOB, limit=1)
        assert subscribers(connection_store, OTHER_JOB) == []
        connection_store.unsubscribe(connection.id, JOB)
        subscribe(connection_store, connection, OTHER_JOB, limit=1)
        assert subscribers(connection_store, OTHER_JOB) == [connection.id]

    def test_the_followers_of_an_owner_are_not_those_of_a_job(
        self, connection_store: ConnectionStore
    ) -> None:
        first, second = (an_open_socket(connection_store, name) for name in "12")
        topic = jobs_of(first.owner)
        connection_store.subscribe(first, topic, since=NOW, limit=10)
        subscribe(connection_store, second)
        assert connection_store.subscribers(topic, NOW) == [Subscriber(first.id, NOW)]
        assert connection_store.subscribers(jobs_of(second.owner), NOW) == []
        assert subscribers(connection_store) == [second.id]
        connection_store.close(first.id)
        assert connection_store.subscribers(topic, NOW) == []
        connection_store.subscribe(second, jobs_of(second.owner), since=NOW, limit=10)
        connection_store.unsubscribe(second.id, jobs_of(second.owner))
        assert connection_store.subscribers(jobs_of(second.owner), NOW) == []
        assert subscribers(connection_store) == [second.id]

    def test_a_socket_past_its_end_of_life_is_no_subscriber(
        self, connection_store: ConnectionStore
    ) -> None:
        connection = an_open_socket(connection_store)
        subscribe(connection_store, connection)
        assert connection_store.subscribers(JOB, END + timedelta(seconds=1)) == []

    def test_open_sockets_are_found_by_their_key(self, connection_store: ConnectionStore) -> None:
        assert connection_store.open_sockets() == []
        opened: dict[str, set[str]] = {"key_1": set(), "key_2": set()}
        for n in range(20):
            key_id = KeyId(f"key_{n % 2 + 1}")
            connection = Connection(ConnectionId(f"c{n}="), an_owner(), key_id, END)
            connection_store.open(connection)
            opened[key_id].add(connection.id)
        subscribe(connection_store, connection)
        connection_store.close(ConnectionId("c0="))
        opened["key_1"].remove("c0=")
        assert {*connection_store.open_sockets()} == opened["key_1"] | opened["key_2"]
        for name, sockets in opened.items():
            assert {*connection_store.open_sockets(KeyId(name))} == sockets
        assert connection_store.open_sockets(KeyId("key_3")) == []


@pytest.mark.parametrize("limit", [3, 4])
def test_a_key_has_room_for_as_many_sockets_as_its_limit(
    connection_store: ConnectionStore, limit: int
) -> None:
    sockets = [an_open_socket(connection_store, f"c{n}") for n in range(3)]
    assert connection_store.has_room(sockets[0], limit) is (limit > 3)
    other = Connection(ConnectionId("d"), an_owner(), KeyId("key_2"), END)
    assert connection_store.has_room(other, 1)


def test_on_aws_a_high_limit_is_judged_by_a_sample(aws_client: AwsClient) -> None:
    client, names = aws_client("dynamodb"), list[str]()
    create_connections_table(client, "connections")
    store = DynamoConnectionStore(client, "connections")
    sockets = [an_open_socket(store, f"c{n}") for n in range(40)]
    client.meta.events.register("before-call", lambda model, **_: names.append(model.name))
    assert store.has_room(sockets[0], SAMPLED_SOCKETS * OPEN_SHARDS)
    assert names == ["Query"]
