"""Two users of one owner, and the owner's other jobs: each attack with a token is in vain."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId, OwnerId
from comfyline.contract.limits import MAX_TOKEN_SECONDS
from comfyline.service.access.authenticate import create_key, disable_key
from comfyline.service.access.budgets import USER_SHARES
from infra.functions import ROUTES
from tests.integration.http_api.people import Person
from tests.integration.http_api.requests import LOADING, PICTURE, code
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway
from tests.support.worker_by_hand import Worker

OWNER = OwnerId("acme")
SEEDED = {**PICTURE, "seed": 7}
FILE = {"name": "a.png", "content_type": "image/png", "bytes": 4}
KEYED = [route for route in ROUTES if not route.is_open]


@pytest.fixture
def owner(gateway: Gateway, clock: FrozenClock) -> Person:
    keys = gateway.aws.keys
    scopes = ["jobs", "admin"]
    _, text = create_key(OWNER, scopes=scopes, expires_at=None, keys=keys, clock=clock)
    return Person(gateway, text)


@pytest.fixture
def alice(owner: Person) -> Person:
    return owner.token("alice")


@pytest.fixture
def bob(owner: Person) -> Person:
    return owner.token("bob")


# --- attacks over HTTP ----------------------------------------------------------------------------


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("route", KEYED, ids=lambda route: route.key)
def test_no_route_shows_or_changes_what_is_not_the_users(
    owner: Person, alice: Person, bob: Person, worker: Worker, route: Any, has_ended: bool
) -> None:
    victims = [who.submitted({"prompt": "secret", "seed": 1}) for who in (owner, alice)]
    while has_ended and worker.work(fails=True):
        pass
    before = [owner("GET", f"/jobs/{job}").json for job in victims]
    for job in victims:
        for body in ({}, {"prompt": "mine"}, {"user": "alice"}, FILE):
            query = "?purge=true" if route.method == "DELETE" else ""
            filled = route.path.replace("{job_id}", job).replace("{number}", "0")
            path = re.sub(r"\{\w+\}", job, filled) + query
            reply = bob.ask(route.method, path, body, {"Prefer": "wait=0"})
            if "{" in route.path:
                assert reply.status in (403, 404), reply.text
            assert "secret" not in reply.text
            assert alice.bearer not in reply.text
            assert reply.status >= 400 or not any(victim in reply.text for victim in victims)
    assert [owner("GET", f"/jobs/{job}").json for job in victims] == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/jobs", None),
        ("GET", "/usage", None),
        ("POST", "/tokens", {"user": "alice"}),
        ("POST", "/tokens", {"user": "bob"}),
    ],
)
def test_a_token_cannot(bob: Person, method: str, path: str, body: Any) -> None:
    reply = bob(method, path, body)
    assert code(reply) == (403, "forbidden")
    assert "API key" in reply.json["detail"]


def test_a_token_cannot_purge_its_own_job(bob: Person, worker: Worker) -> None:
    job = bob.submitted()
    worker.work()
    assert code(bob("DELETE", f"/jobs/{job}?purge=true")) == (403, "forbidden")
    assert bob("GET", f"/jobs/{job}").status == 200


def test_a_key_without_the_scope_jobs_makes_no_token(gateway: Gateway, clock: FrozenClock) -> None:
    keys = gateway.aws.keys
    _, text = create_key(OWNER, scopes=["admin"], expires_at=None, keys=keys, clock=clock)
    assert code(Person(gateway, text)("POST", "/tokens", {"user": "a"})) == (403, "forbidden")


def test_a_user_works_with_what_is_its_own(owner: Person, alice: Person, worker: Worker) -> None:
    job = alice.submitted()
    again = owner.token("alice")  # the token of another hour
    assert again("GET", f"/jobs/{job}").json["user"] == "alice"
    assert again("GET", f"/jobs/{job}/events").status == 200
    worker.work(fails=True)
    retried = again("POST", f"/jobs/{job}/retry")
    assert retried.status == 202
    assert alice("DELETE", f"/jobs/{retried.json['job_id']}").json["status"] == "canceled"
    assert alice("GET", f"/jobs/{job}/artifacts").status == 200


def test_a_user_reads_the_graph_of_its_own_jobs_only(alice: Person, bob: Person) -> None:
    job = alice.submitted()
    assert alice("GET", f"/jobs/{job}/graph").json["workflow"]
    assert code(bob("GET", f"/jobs/{job}/graph")) == (404, "job_not_found")


def test_the_owner_sees_and_cancels_the_jobs_of_its_users(owner: Person, alice: Person) -> None:
    job = alice.submitted()
    assert owner("GET", f"/jobs/{job}").json["user"] == "alice"
    (listed,) = owner("GET", "/jobs").json["jobs"]
    assert (listed["job_id"], listed["user"], listed["submitted_by"]) == (job, "alice", OWNER)
    assert owner("DELETE", f"/jobs/{job}").json["status"] == "canceled"
    again = owner("POST", f"/jobs/{job}/retry").json["job_id"]
    assert alice("GET", f"/jobs/{again}").json["user"] == "alice"


def test_a_user_of_another_owner_with_the_same_name_sees_nothing(
    gateway: Gateway, clock: FrozenClock, alice: Person
) -> None:
    job = alice.submitted()
    keys = gateway.aws.keys
    _, text = create_key(OwnerId("other"), scopes=["jobs"], expires_at=None, keys=keys, clock=clock)
    other = Person(gateway, text).token("alice")
    assert code(other("GET", f"/jobs/{job}")) == (404, "job_not_found")


# --- keys, reuse, uploads -------------------------------------------------------------------------


def test_equal_idempotency_keys_of_two_users_and_the_owner_make_three_jobs(
    owner: Person, alice: Person, bob: Person
) -> None:
    key = {"Idempotency-Key": "once"}
    jobs = {who.submitted(PICTURE, **key) for who in (owner, alice, bob)}
    assert len(jobs) == 3
    assert {who.submitted(PICTURE, **key) for who in (owner, alice, bob)} == jobs


def test_no_names_of_owner_and_user_meet(gateway: Gateway, clock: FrozenClock) -> None:
    """An owner's name may look like the text that another owner and its user are hashed as."""
    made = []
    for owner, user in (("a", "b:c"), ("a", "b"), ("a.b", "c"), ("user", "1:a:b")):
        keys = gateway.aws.keys
        _, text = create_key(
            OwnerId(owner), scopes=["jobs"], expires_at=None, keys=keys, clock=clock
        )
        made.append(Person(gateway, text).token(user).submitted(**{"Idempotency-Key": "k"}))
    assert len({*made}) == len(made)


def test_equal_requests_of_two_users_and_the_owner_are_not_reused(
    owner: Person, alice: Person, bob: Person, worker: Worker
) -> None:
    first = alice.submitted(SEEDED)
    worker.work()
    others = {who.submitted(SEEDED) for who in (owner, bob)}
    assert len({first, *others}) == 3
    assert alice.submitted(SEEDED) == first


def test_an_upload_is_used_by_its_user_alone(
    gateway: Gateway, owner: Person, alice: Person, bob: Person
) -> None:
    offer = alice("POST", "/uploads", FILE).json
    s3 = gateway.aws.client("s3")
    s3.put_object(Bucket="files", Key=offer["fields"]["key"], Body=b"png!", ContentType="image/png")
    body = {"workflow": LOADING, "inputs": {"1.image": f"upload:{offer['upload_id']}"}}
    assert alice("POST", "/jobs", body).status == 202
    for who in (owner, bob):
        reply = who("POST", "/jobs", body)
        assert code(reply) == (422, "invalid_request")
        assert "there is no upload" in reply.text


# --- narrower than the key ------------------------------------------------------------------------


def test_a_token_makes_as_many_jobs_as_it_may(owner: Person) -> None:
    carol = owner.token("carol", max_jobs=2)
    first = carol.submitted(SEEDED, **{"Idempotency-Key": "1"})
    assert carol.submitted(SEEDED, **{"Idempotency-Key": "1"}) == first
    carol.submitted(SEEDED, **{"Idempotency-Key": "2"})
    reply = carol("POST", "/jobs", SEEDED, {"Idempotency-Key": "3"})
    assert code(reply) == (403, "forbidden")
    assert "2 jobs" in reply.json["detail"]
    # What exists is still answered, also to another token of the same user.
    assert carol.submitted(SEEDED, **{"Idempotency-Key": "1"}) == first
    assert owner.token("carol").submitted(SEEDED, **{"Idempotency-Key": "1"}) == first


def test_a_retry_counts_as_a_job(owner: Person, worker: Worker) -> None:
    carol = owner.token("carol", max_jobs=1)
    job = carol.submitted()
    worker.work(fails=True)
    assert code(carol("POST", f"/jobs/{job}/retry")) == (403, "forbidden")


def test_a_token_for_reading_changes_nothing(owner: Person, alice: Person) -> None:
    job = alice.submitted()
    reader = owner.token("alice", scopes=["jobs:read"])
    assert reader("GET", f"/jobs/{job}").status == 200
    assert reader("POST", "/ws-tickets").status == 201
    for method, path, body in (
        ("POST", "/jobs", PICTURE),
        ("POST", "/generate", PICTURE),
        ("DELETE", f"/jobs/{job}", None),
        ("POST", f"/jobs/{job}/retry", None),
        ("POST", "/uploads", FILE),
    ):
        assert code(reader(method, path, body)) == (403, "forbidden"), path


def test_the_caps_of_the_key_hold_for_its_users_together(
    gateway: Gateway, clock: FrozenClock, owner: Person
) -> None:
    key = gateway.aws.keys.get(owner.key_id())
    assert key is not None
    gateway.aws.keys.put(replace(key, limits=replace(key.limits, max_active_jobs=1)))
    owner.token("alice").submitted()
    assert code(owner.token("bob")("POST", "/jobs", PICTURE)) == (429, "too_many_jobs")


def test_one_user_cannot_use_up_the_budget_of_its_owner(
    gateway: Gateway, owner: Person, alice: Person, bob: Person
) -> None:
    key = gateway.aws.keys.get(owner.key_id())
    assert key is not None
    limits = replace(key.limits, requests_per_minute=10 * USER_SHARES)
    gateway.aws.keys.put(replace(key, limits=limits))
    statuses = [bob("GET", "/models").status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    assert alice("GET", "/models").status == owner("GET", "/models").status == 200


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ({}, "user"),
        ({"user": ""}, "user"),
        ({"user": "a" * 129}, "user"),
        ({"user": "a b"}, "user"),
        ({"user": "a\n"}, "user"),
        ({"user": "ä"}, "user"),
        ({"user": 5}, "user"),
        ({"user": "a", "scopes": ["admin"]}, "scopes"),
        ({"user": "a", "scopes": []}, "scopes"),
        ({"user": "a", "scopes": ["jobs", "jobs", "jobs"]}, "scopes"),
        ({"user": "a", "max_jobs": 0}, "max_jobs"),
        ({"user": "a", "max_jobs": 101}, "max_jobs"),
        ({"user": "a", "expires_in": MAX_TOKEN_SECONDS + 1}, "expires_in"),
        ({"user": "a", "expires_in": 9}, "expires_in"),
        ({"user": "a", "owner": "b"}, "owner"),
    ],
)
def test_a_bad_field_is_named(owner: Person, asked: dict[str, Any], place: str) -> None:
    reply = owner("POST", "/tokens", asked)
    assert code(reply) == (422, "invalid_request")
    assert {error["loc"][1] for error in reply.json["errors"]} == {place}


# --- the end of a token ---------------------------------------------------------------------------


def test_a_token_expires_also_where_the_gateway_remembers_it(
    owner: Person, clock: FrozenClock
) -> None:
    carol = owner.token("carol", expires_in=60)
    remembered = carol.context()
    clock.advance(timedelta(seconds=59.999))
    assert carol("GET", "/models").status == 200
    clock.advance(timedelta(seconds=0.001))
    assert code(carol("GET", "/models")) == (401, "unauthorized")
    gateway = replace(carol.gateway, caller=remembered, owner=OWNER)
    assert code(gateway("GET", "/api/v1/models")) == (401, "unauthorized")


def test_a_token_ends_with_its_key(gateway: Gateway, clock: FrozenClock, owner: Person) -> None:
    carol, secret = owner.token("carol"), owner.token("carol")("POST", "/ws-tickets").json["ticket"]
    disable_key(owner.key_id(), keys=gateway.aws.keys, clock=clock)
    assert code(carol("GET", "/models")) == (401, "unauthorized")
    assert socket_effect(gateway, secret) == "Deny"


@pytest.mark.parametrize("change", ["x", "", "é"])
def test_no_altered_token_is_accepted(alice: Person, change: str) -> None:
    for text in (alice.bearer + change + "x", alice.bearer[:-1] + (change or "-") + "_"):
        assert code(replace(alice, bearer=text)("GET", "/models")) == (401, "unauthorized")


def test_no_secret_is_stored(gateway: Gateway, alice: Person) -> None:
    items = gateway.aws.client("dynamodb").scan(TableName="connections")["Items"]
    assert alice.bearer.removeprefix("clt_") not in json.dumps(items)
    assert "alice" in json.dumps(items)


# --- sockets --------------------------------------------------------------------------------------


def socket_effect(gateway: Gateway, ticket: str) -> str:
    event = {"queryStringParameters": {"ticket": ticket}, "methodArn": "arn"}
    answer = gateway.call("AuthorizeSocket", event)
    return str(answer["policyDocument"]["Statement"][0]["Effect"])


def opened(person: Person, name: str, gateway: Gateway) -> ConnectionId:
    """A socket that the person has opened with a pass."""
    ticket = person("POST", "/ws-tickets").json["ticket"]
    event = {"queryStringParameters": {"ticket": ticket}, "methodArn": "arn"}
    context = gateway.call("AuthorizeSocket", event)["context"]
    request = {"connectionId": name, "requestId": name, "authorizer": context}
    assert gateway.call("SocketConnect", {"requestContext": request})["statusCode"] == 200
    return ConnectionId(name)


def said(gateway: Gateway, socket: ConnectionId, message: Any) -> list[dict[str, Any]]:
    """What the service answers to a message on the socket."""
    event = {
        "requestContext": {"connectionId": socket, "requestId": "r"},
        "body": json.dumps(message),
    }
    gateway.call("SocketSubscribe", event)
    sent = gateway.aws.sockets.sent[socket]  # type: ignore[attr-defined]
    answers = [json.loads(one) for one in sent]
    sent.clear()
    return answers


@pytest.fixture
def live(gateway: Gateway) -> Gateway:
    """The functions with sockets in memory."""
    return gateway.altered(sockets=InMemorySockets())


def test_a_socket_of_a_user_follows_only_jobs_of_that_user(
    live: Gateway, owner: Person, alice: Person, bob: Person
) -> None:
    jobs = {who: who.submitted() for who in (owner, alice, bob)}
    socket = opened(bob, "bobs", live)
    for who in (owner, alice):
        (answer,) = said(live, socket, {"action": "subscribe", "job_id": jobs[who]})
        assert (answer["type"], answer["code"]) == ("error", "job_not_found")
        assert live.aws.connections.subscribers(jobs[who], live.clock()) == []  # type: ignore[arg-type]
    (answer,) = said(live, socket, {"action": "subscribe", "job_id": jobs[bob]})
    assert (answer["type"], answer["status"]) == ("status", "queued")
    (answer,) = said(live, socket, {"action": "subscribe", "jobs": "mine"})
    assert (answer["type"], answer["code"]) == ("error", "forbidden")
    greeted = opened(owner, "owners", live)
    for job in jobs.values():
        (answer,) = said(live, greeted, {"action": "subscribe", "job_id": job})
        assert answer["type"] == "status"


def test_a_socket_hears_nothing_after_the_end_of_its_token(
    live: Gateway, owner: Person, clock: FrozenClock
) -> None:
    carol = owner.token("carol", expires_in=60)
    job = carol.submitted()
    socket = opened(carol, "carols", live)
    said(live, socket, {"action": "subscribe", "job_id": job})
    assert len(live.aws.connections.subscribers(job, clock())) == 1  # type: ignore[arg-type]
    clock.advance(61)
    assert live.aws.connections.subscribers(job, clock()) == []  # type: ignore[arg-type]
    (answer,) = said(live, socket, {"action": "ping"})
    assert (answer["type"], answer["code"]) == ("error", "key_void")
    assert socket in live.aws.sockets.closed  # type: ignore[attr-defined]


def test_the_sweeper_closes_the_sockets_of_a_disabled_keys_tokens(
    live: Gateway, owner: Person, alice: Person, clock: FrozenClock
) -> None:
    socket = opened(alice, "alices", live)
    disable_key(owner.key_id(), keys=live.aws.keys, clock=clock)
    assert live.call("SweepJobs", {})["SocketClosed"] == 1
    assert live.aws.connections.get(socket) is None


def test_one_user_cannot_take_all_sockets_of_the_key(
    live: Gateway, owner: Person, alice: Person, bob: Person
) -> None:
    key = live.aws.keys.get(owner.key_id())
    assert key is not None
    limits = replace(key.limits, max_sockets=2 * 4 * USER_SHARES)
    live.aws.keys.put(replace(key, limits=limits))
    refused = 0
    for n in range(12):
        try:
            opened(bob, f"bobs{n}", live)
        except AssertionError:
            refused += 1
    assert refused > 0
    opened(alice, "alices", live)


def test_a_pass_of_an_expired_token_opens_nothing(
    gateway: Gateway, owner: Person, clock: FrozenClock
) -> None:
    carol = owner.token("carol", expires_in=30)
    ticket = carol("POST", "/ws-tickets").json["ticket"]
    clock.advance(31)
    assert socket_effect(gateway, ticket) == "Deny"
