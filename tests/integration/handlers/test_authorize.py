"""Both authorizers, from the gateway's event to the response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import create_key
from tests.integration.handlers.conftest import Cloud
from tests.support import events
from tests.support.builders import NOW, an_owner

HEADERS = ["{token}", "Basic {token}", "Bearer {token}x", "Bearer", "Bearer  ", "Bearer\t{token}"]


def a_token(cloud: Cloud, owner: OwnerId, scopes: Iterable[str] = ("jobs",)) -> tuple[KeyId, str]:
    expires_at = NOW + timedelta(days=1)
    key, token = create_key(
        owner, scopes=scopes, expires_at=expires_at, keys=cloud.keys, clock=cloud.clock
    )
    return key.id, token


def disable(cloud: Cloud, key_id: KeyId) -> None:
    key = cloud.keys.get(key_id)
    assert key is not None
    cloud.keys.put(replace(key, disabled_at=NOW))


def http_answer(cloud: Cloud, authorization: str | None) -> bool:
    answer = cloud.call("AuthorizeHttp", events.asking("authorize_http", authorization))
    assert answer["isAuthorized"] is True  # the functions refuse, with the contract's 401
    allowed: bool = answer["context"] != {"invalid_key": "true"}
    return allowed


def socket_answer(cloud: Cloud, authorization: str | None) -> bool:
    answer = cloud.call("AuthorizeSocket", events.asking("authorize_socket", authorization))
    (statement,) = answer["policyDocument"]["Statement"]
    assert answer["policyDocument"]["Version"] == "2012-10-17"
    assert statement["Action"] == "execute-api:Invoke"
    assert statement["Resource"] == events.load("authorize_socket")["methodArn"]
    allowed: bool = {"Allow": True, "Deny": False}[statement["Effect"]]
    assert allowed or (answer["principalId"], answer["context"]) == ("nobody", {})
    return allowed


Allows = Callable[[Cloud, str | None], bool]

BOTH = pytest.mark.parametrize("allows", [http_answer, socket_answer])


def test_a_request_has_the_owner_of_its_key(cloud: Cloud) -> None:
    owner = an_owner()
    key_id, token = a_token(cloud, owner)
    event = events.asking("authorize_http", f"Bearer {token}")
    answer = cloud.call("AuthorizeHttp", event)
    assert answer["isAuthorized"] is True
    caller = {"owner": owner, "key_id": key_id, "scopes": "jobs"}
    assert answer["context"] | caller == answer["context"]


def test_a_request_knows_that_a_client_follows_its_owner(cloud: Cloud) -> None:
    owner = an_owner()
    _, token = a_token(cloud, owner)
    event = events.asking("authorize_http", f"Bearer {token}")
    assert "owner_watched_until" not in cloud.call("AuthorizeHttp", event)["context"]
    cloud.keys.watch_owner(owner, NOW)
    context = cloud.call("AuthorizeHttp", event)["context"]
    assert context["owner_watched_until"] == NOW.isoformat()


def test_a_socket_has_the_owner_of_its_key(cloud: Cloud) -> None:
    owner = an_owner()
    key_id, token = a_token(cloud, owner)
    event = events.asking("authorize_socket", f"Bearer {token}")
    answer = cloud.call("AuthorizeSocket", event)
    assert answer["principalId"] == owner
    caller = {"owner": owner, "key_id": key_id}
    assert answer["context"] | caller == answer["context"]
    # A gateway takes strings, numbers and booleans only.
    assert all(isinstance(value, str) for value in answer["context"].values())


@BOTH
def test_a_valid_key_is_accepted(cloud: Cloud, allows: Allows) -> None:
    _, token = a_token(cloud, an_owner())
    assert allows(cloud, f"Bearer {token}")
    assert allows(cloud, f"bearer {token}")


@BOTH
def test_no_scheme_but_bearer_is_accepted(cloud: Cloud, allows: Allows) -> None:
    _, token = a_token(cloud, an_owner())
    for header in HEADERS:
        assert not allows(cloud, header.format(token=token)), header
    assert not allows(cloud, None)


@BOTH
def test_an_unknown_key_and_a_wrong_secret_are_refused(cloud: Cloud, allows: Allows) -> None:
    key_id, token = a_token(cloud, an_owner())
    assert not allows(cloud, "Bearer cl_0123456789abcdef_" + "s" * 43)
    assert not allows(cloud, f"Bearer cl_{key_id}_" + "s" * 43)
    assert not allows(cloud, "Bearer " + token.replace(key_id, "0123456789abcdef"))


@BOTH
def test_an_expired_key_is_refused(cloud: Cloud, allows: Allows) -> None:
    _, token = a_token(cloud, an_owner())
    cloud.clock.advance(timedelta(days=1))
    assert not allows(cloud, f"Bearer {token}")


@BOTH
def test_a_disabled_key_is_refused_at_once(cloud: Cloud, allows: Allows) -> None:
    key_id, token = a_token(cloud, an_owner())
    assert allows(cloud, f"Bearer {token}")
    disable(cloud, key_id)
    assert not allows(cloud, f"Bearer {token}")


def test_a_socket_needs_the_scope(cloud: Cloud) -> None:
    _, token = a_token(cloud, an_owner(), scopes=["admin"])
    assert not socket_answer(cloud, f"Bearer {token}")


def test_no_secret_is_stored(cloud: Cloud) -> None:
    _, token = a_token(cloud, an_owner())
    assert token.rpartition("_")[2] not in str(cloud.items("keys"))


class TestEdge:
    """A request that has gone round the edge is refused before anything is read or used up."""

    @pytest.fixture
    def edge(self, cloud: Cloud) -> Cloud:
        environ = {**cloud.gateway.environ, "EDGE_SECRETS": "newest,last"}
        return replace(cloud, gateway=replace(cloud.gateway, environ=environ, made={}))

    def http(self, cloud: Cloud, authorization: str, sent: str | None) -> bool:
        event = events.asking("authorize_http", authorization)
        if sent is not None:
            event["headers"]["x-comfyline-edge"] = sent
        event["identitySource"] = [authorization, sent]
        allowed: bool = cloud.call("AuthorizeHttp", event)["isAuthorized"]
        return allowed

    @pytest.mark.parametrize(
        ("sent", "allowed"),
        [("newest", True), ("last", True), ("older", False), ("", False), (None, False)],
    )
    def test_a_valid_key_needs_a_secret_too(
        self, edge: Cloud, sent: str | None, allowed: bool
    ) -> None:
        _, token = a_token(edge, an_owner())
        assert self.http(edge, f"Bearer {token}", sent) is allowed

    def test_a_secret_is_no_key(self, edge: Cloud) -> None:
        event = events.asking("authorize_http", "Bearer newest")
        event["headers"]["x-comfyline-edge"] = "newest"
        event["identitySource"] = ["Bearer newest", "newest"]
        assert edge.call("AuthorizeHttp", event)["context"] == {"invalid_key": "true"}

    def test_a_socket_pass_is_not_used_up(self, edge: Cloud) -> None:
        owner = an_owner()
        key_id, _ = a_token(edge, owner)
        _, secret = edge.gateway.wiring.access.create_socket_pass(owner, key_id, None)
        event = events.load("authorize_socket")
        event["queryStringParameters"] = {"ticket": secret}

        def allowed(**headers: str) -> bool:
            asked = {**event, "headers": headers}
            answer = edge.call("AuthorizeSocket", asked)
            return bool(answer["policyDocument"]["Statement"][0]["Effect"] == "Allow")

        assert not allowed()
        assert allowed(**{"X-Comfyline-Edge": "newest"})
