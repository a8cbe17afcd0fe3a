"""The functions behind the WebSocket: they handle events, and the sockets receive messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

import boto3
import pytest
from moto import mock_aws

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.live.connections import DynamoConnectionStore
from comfyline.adapters.aws.live.relay import event_of
from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId
from comfyline.contract.v1.socket import server_message
from comfyline.service.access.budgets import MESSAGES, UNCOUNTED_SHARE
from comfyline.service.errors import Unavailable
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.live.broadcast import Chunk
from comfyline.service.live.delivery import Post
from functions import push_chunk, push_updates, socket_connect, socket_disconnect, socket_subscribe
from functions._wiring import Wiring
from tests.support.aws import (
    REGION,
    create_connections_table,
    create_jobs_table,
    create_keys_table,
    create_table,
)
from tests.support.builders import FrozenClock, a_job, an_owner, claimed
from tests.support.gateway import AlteredAws

OWNER = an_owner()
ENVIRONMENT = {
    "JOBS_TABLE": "jobs",
    "KEYS_TABLE": "keys",
    "OWNERS_TABLE": "owners",
    "CONNECTIONS_TABLE": "connections",
    "ARTIFACTS_BUCKET": "artifacts",
    "WEBSOCKET_API_ID": "api",
    "WEBSOCKET_STAGE": "live",
    "GREETER_FUNCTION": "greeter",
    "RELAY_FUNCTION": "relay",
    "METRICS_NAMESPACE": "Comfyline/test",
}


class Service:
    """The functions over tables of moto; sockets and asynchronous calls are in memory."""

    def __init__(self, clients: Mapping[str, Any]) -> None:
        self.sockets, self.greetings = InMemorySockets(), list[dict[str, Any]]()
        self.limits: dict[str, str] = {}  # of the key
        self._clients = {**clients, "lambda": Greeter(self.greetings)}
        self._connect_to(sockets=self.sockets)

    def _connect_to(self, **adapters: Any) -> None:
        self.aws = AlteredAws(ENVIRONMENT, lambda name, _=None: self._clients[name], **adapters)
        self.wiring = Wiring(ENVIRONMENT, aws=self.aws)

    def altered(self, **adapters: Any) -> Service:
        """The same service with other adapters."""
        other = copy(self)
        other._connect_to(sockets=self.sockets, **adapters)
        return other

    @property
    def jobs(self) -> DynamoJobStore:
        return self.aws.jobs

    def pushed(self, *records: dict[str, Any]) -> Any:
        """The answer of push_updates to a batch."""
        return push_updates.handler({"Records": records}, None, self.wiring)

    def greet(self, call: Mapping[str, Any]) -> None:
        """Lambda makes the asynchronous call."""
        socket_subscribe.handler(json.loads(call["Payload"]), None, self.wiring)

    def connect(self, socket: str, **query: str) -> int:
        context = {"authorizer": {"owner": OWNER, "key_id": "k", **self.limits}}
        event = self._event(socket, context)
        event["queryStringParameters"] = query or None
        answer = socket_connect.handler(event, None, self.wiring)
        return answer["statusCode"]

    def send(self, socket: str, body: str | dict[str, Any]) -> list[Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        event = {**self._event(socket, {}), "body": text}
        assert socket_subscribe.handler(event, None, self.wiring) == {"statusCode": 200}
        return self.received(socket)

    def disconnect(self, socket: str) -> None:
        answer = socket_disconnect.handler(self._event(socket, {}), None, self.wiring)
        assert answer == {"statusCode": 200}

    def received(self, socket: str) -> list[Any]:
        return [json.loads(body) for body in self.sockets.sent.pop(ConnectionId(socket), [])]

    def rows(self) -> list[Any]:
        rows: list[Any] = self.aws.client("dynamodb").scan(TableName="connections")["Items"]
        return rows

    def _event(self, socket: str, context: dict[str, Any]) -> dict[str, Any]:
        return {"requestContext": {"connectionId": socket, "requestId": "r", **context}}


class Greeter:
    def __init__(self, greetings: list[dict[str, Any]]) -> None:
        self._greetings = greetings

    def invoke(self, **request: Any) -> None:
        self._greetings.append(request)


@pytest.fixture
def service() -> Iterator[Service]:
    with mock_aws():
        dynamodb = boto3.client("dynamodb", REGION)
        create_jobs_table(dynamodb, "jobs")
        create_connections_table(dynamodb, "connections")
        create_keys_table(dynamodb, "keys")
        create_table(dynamodb, "owners", "pk", "sk")
        yield Service({"dynamodb": dynamodb, "s3": boto3.client("s3", REGION)})


def queued(service: Service) -> Job:
    job = a_job(owner=OWNER, queued_at=service.wiring.clock())
    service.jobs.add(job)
    return job


def row(job: Job) -> dict[str, Any]:
    return {**codec.item_of(job), "sk": {"S": "job"}}


def record(old: Job, new: Job, number: int = 1, **image: Any) -> dict[str, Any]:
    keys = {"pk": {"S": new.id}, "sk": {"S": "job"}}
    images = {"OldImage": row(old), "NewImage": row(new) | image}
    return {"dynamodb": {"Keys": keys, "SequenceNumber": str(number), **images}}


def subscribed(service: Service, socket: str) -> Job:
    job = queued(service)
    service.send(socket, {"action": "subscribe", "job_id": job.id})
    found = service.jobs.get(job.id)
    assert found is not None
    return found


# --- messages of a client -------------------------------------------------------------------------


def test_more_sockets_than_an_owner_may_open_are_refused(service: Service) -> None:
    service.limits["sockets_per_minute"] = "2"
    assert [service.connect(f"c{n}", job_id="x") for n in range(3)] == [200, 200, 429]
    assert len(service.greetings) == 2
    assert len(service.rows()) == 2


def test_a_key_has_so_many_open_sockets(service: Service) -> None:
    service.limits["max_sockets"] = "2"
    assert [service.connect(f"c{n}") for n in range(3)] == [200, 200, 429]
    service.disconnect("c0")
    assert service.connect("c3") == 200


def test_more_messages_than_an_owner_may_send_are_answered_with_an_error(service: Service) -> None:
    service.connect("c1")
    service.wiring = Wiring(ENVIRONMENT, clock := FrozenClock(), aws=service.aws)
    service.aws.budgets.spend(OWNER, MESSAGES, MESSAGES.limit, MESSAGES.limit, clock())
    ping = {"action": "ping"}
    block = MESSAGES.limit // UNCOUNTED_SHARE
    kinds = [service.send("c1", ping)[0]["type"] for _ in range(block)]
    assert kinds == ["pong"] * (block - 1) + ["error"]
    (refused,) = service.send("c1", ping)
    assert (refused["code"], refused["budget"]) == ("too_many_requests", "messages")
    assert server_message.validate_python(refused)


def test_a_message_on_a_socket_that_is_not_stored_closes_it(service: Service) -> None:
    assert service.send("c9", {"action": "ping"}) == []
    assert service.sockets.closed == {"c9"}


def test_subscribe_ping_unsubscribe(service: Service) -> None:
    assert service.connect("c1") == 200
    job = queued(service)
    (snapshot,) = service.send("c1", {"action": "subscribe", "job_id": job.id})
    assert (snapshot["type"], snapshot["snapshot"], snapshot["job_id"]) == ("status", True, job.id)
    assert service.send("c1", {"action": "ping"}) == [{"type": "pong"}]
    assert service.send("c1", {"action": "unsubscribe", "job_id": job.id}) == []
    assert [item["sk"]["S"] for item in service.rows()] == ["conn"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("not json", "bad_json"),
        ("", "bad_json"),
        ("[" * 500, "bad_json"),
        ("[]", "unknown_action"),
        ('{"action": "dance"}', "unknown_action"),
        ('{"action": ["subscribe"]}', "unknown_action"),
        ('{"action": "subscribe"}', "bad_message"),
        ('{"action": "subscribe", "job_id": "no"}', "bad_message"),
        ('{"action": "subscribe", "job_id": "job_' + "0" * 26 + '", "after": -1}', "bad_message"),
        ('{"action": "ping", "more": 1}', "bad_message"),
        ('{"action": "subscribe", "job_id": "job_' + "0" * 26 + '"}', "job_not_found"),
        ('{"action": "ping", "x": "' + "x" * 1024 + '"}', "message_too_large"),
    ],
)
def test_a_bad_message_is_answered_with_an_error(service: Service, body: str, code: str) -> None:
    service.connect("c1")
    (error,) = service.send("c1", body)
    assert (error["type"], error["code"]) == ("error", code)
    assert error["message"]
    assert server_message.validate_python(error)


def test_a_subscription_beyond_the_limit_is_answered_with_an_error(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comfyline.service.live.subscribe.MAX_SUBSCRIPTIONS", 1)
    service.connect("c1")
    subscribed(service, "c1")
    other = queued(service)
    (error,) = service.send("c1", {"action": "subscribe", "job_id": other.id})
    assert (error["code"], error["job_id"]) == ("too_many_subscriptions", other.id)


def test_a_disconnect_leaves_no_row(service: Service) -> None:
    service.connect("c1")
    for _ in range(3):
        subscribed(service, "c1")
    assert len(service.rows()) == 4
    service.disconnect("c1")
    assert service.rows() == []


def test_every_row_has_a_ttl(service: Service) -> None:
    service.connect("c1")
    subscribed(service, "c1")
    until = service.wiring.clock().timestamp() + 2 * 3600 + 1
    assert all(0 < float(item["ttl"]["N"]) <= until + 1 for item in service.rows())


# --- ?job_id= at connect --------------------------------------------------------------------------


def test_a_job_asked_for_at_connect_is_greeted_by_an_asynchronous_call(service: Service) -> None:
    job = queued(service)
    service.connect("c1", job_id=job.id)
    (call,) = service.greetings
    assert (call["FunctionName"], call["InvocationType"]) == ("greeter", "Event")
    assert service.received("c1") == []  # nothing can be posted before $connect has returned
    service.greet(call)
    (snapshot,) = service.received("c1")
    assert (snapshot["job_id"], snapshot["snapshot"]) == (job.id, True)


@pytest.mark.parametrize("wanted", ["", "nonsense", "job_" + "0" * 26])
def test_a_wrong_job_at_connect_is_an_error_on_the_socket(service: Service, wanted: str) -> None:
    assert service.connect("c1", job_id=wanted) == 200
    (call,) = service.greetings
    service.greet(call)
    (error,) = service.received("c1")
    assert error["code"] == ("job_not_found" if wanted.startswith("job_") else "bad_message")


# --- the stream -----------------------------------------------------------------------------------


def test_the_changes_of_each_job_of_a_batch_are_sent(service: Service) -> None:
    service.connect("c1")
    jobs = [subscribed(service, "c1") for _ in range(3)]
    service.received("c1")
    records = [record(job, claimed(job), n) for n, job in enumerate(jobs)]
    assert service.pushed(*records) == {"batchItemFailures": []}
    assert {(m["job_id"], m["version"]) for m in service.received("c1")} == {
        (j.id, 2) for j in jobs
    }


def test_an_unreadable_record_is_skipped(service: Service) -> None:
    service.connect("c1")
    first, second = subscribed(service, "c1"), subscribed(service, "c1")
    service.received("c1")
    started = advance(claimed(first), ev.Started(attempt=1), service.wiring.clock())
    records = [
        record(first, claimed(first), 1, schema={"N": "99"}),
        record(second, claimed(second), 2),
        record(claimed(first), started, 3),
        record(second, claimed(second), 4, status={"S": "strange"}),
    ]
    assert service.pushed(*records) == {"batchItemFailures": []}
    sent = {(m["job_id"], m["version"], m["status"]) for m in service.received("c1")}
    assert sent == {(second.id, 2, "queued"), (first.id, 3, "running")}


def test_only_a_job_that_a_retry_may_help_is_delivered_again(service: Service) -> None:
    service.connect("c1")
    fine, throttled, broken = (subscribed(service, "c1") for _ in range(3))
    service.received("c1")

    class Unreliable(DynamoConnectionStore):
        def subscribers(self, job_id: Any, now: Any) -> Any:
            if job_id == throttled.id:
                raise Unavailable("throttled")
            if job_id == broken.id:
                raise RuntimeError("a bug")
            return super().subscribers(job_id, now)

    connections = Unreliable(service.aws.client("dynamodb"), "connections")
    unreliable = service.altered(connections=connections)
    jobs = [throttled, fine, broken]
    records = [record(job, claimed(job), n) for n, job in enumerate(jobs, start=7)]
    answer = unreliable.pushed(*records)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "7"}]}
    assert {m["job_id"] for m in service.received("c1")} == {fine.id}


def test_a_removed_row_sends_nothing(service: Service) -> None:
    gone = {"Keys": {"pk": {"S": "job_x"}, "sk": {"S": "job"}}, "SequenceNumber": "1"}
    records = [{"dynamodb": {**gone, "OldImage": row(a_job())}}]
    assert service.pushed(*records) == {"batchItemFailures": []}
    assert service.pushed() == {"batchItemFailures": []}


# --- very many subscribers ------------------------------------------------------------------------


def test_a_chunk_is_posted_by_the_function_that_is_called_for_it(service: Service) -> None:
    service.connect("c1")
    job = subscribed(service, "c1")
    service.received("c1")
    (subscriber,) = service.wiring.aws.connections.subscribers(job.id, service.wiring.clock())
    posts = [Post(job.id, json.dumps({"n": n}).encode(), must_arrive=True) for n in range(2)]
    push_chunk.handler(
        event_of(Chunk(job.id, [subscriber], posts, is_end=True)), None, service.wiring
    )
    assert service.received("c1") == [{"n": 0}, {"n": 1}]
    assert [item["sk"]["S"] for item in service.rows()] == ["conn"]


def test_an_unknown_socket_that_subscribes_is_closed(service: Service) -> None:
    """Its $connect finished too late to be stored, so the client must connect again."""
    job = queued(service)
    service.connect("c1")
    service.wiring.aws.connections.close(ConnectionId("c1"))
    assert service.send("c1", {"action": "subscribe", "job_id": job.id}) == []
    assert service.sockets.closed == {"c1"}


def test_a_socket_follows_all_jobs_of_its_owner(service: Service) -> None:
    job = queued(service)
    service.connect("c1")
    snapshot, answer = service.send("c1", {"action": "subscribe", "jobs": "mine"})
    assert (snapshot["job_id"], snapshot["status"], snapshot["snapshot"]) == (
        job.id,
        "queued",
        True,
    )
    assert (answer["type"], answer["jobs"]) == ("subscribed", "mine")
    marked = service.jobs.get(job.id)
    assert marked is not None
    assert marked.owner_watched_until == service.aws.keys.owner_watched_until(OWNER)
    service.pushed(record(marked, service.jobs.save(marked, claimed(marked))))
    assert [m["status"] for m in service.received("c1")] == ["queued"]
    assert service.send("c1", {"action": "unsubscribe", "jobs": "mine"}) == []
    service.disconnect("c1")
    assert service.rows() == []


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"jobs": "all"},
        {"jobs": "mine", "after": 1},
        {"jobs": "mine", "job_id": "job_01khhk2xg0z6v8q4m3n7r5t9wb"},
        {"jobs": "mine", "owner": "another"},
        {"jobs": ["mine"]},
    ],
)
@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_a_subscription_names_one_job_or_all(
    service: Service, asked: dict[str, Any], action: str
) -> None:
    queued(service)
    service.connect("c1")
    (answer,) = service.send("c1", {"action": action, **asked})
    assert (answer["type"], answer["code"]) == ("error", "bad_message")
