"""People sign in at a real provider: the console with a session, programs with the token itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from comfyline.service.access.people import MAX_JWT
from tests.integration.http_api.browser import Browser
from tests.integration.http_api.requests import PICTURE, code
from tests.integration.http_api.test_tokens import Person
from tests.support.builders import FrozenClock, now
from tests.support.gateway import Gateway, functions_on_moto
from tests.support.issuer import CLIENT, Provider, a_provider

RULES = {
    "client_id": CLIENT,
    "default_scopes": "jobs",
    "scopes_claim": "groups",
    "scopes": {"operators": "admin"},
    "limits": {"max_active_jobs": 2},
    "name_claim": "email",
    "session_minutes": 60,
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with a_provider() as provider:
        provider.knows("alice", email="alice@example.com", groups=["operators"])
        yield provider


@pytest.fixture
def clock() -> FrozenClock:
    """The provider's tokens have the real time."""
    return FrozenClock(now())


@pytest.fixture
def gateway(
    monkeypatch: pytest.MonkeyPatch, clock: FrozenClock, provider: Provider
) -> Iterator[Gateway]:
    with functions_on_moto(monkeypatch, clock) as gateway:
        rules = json.dumps({**RULES, "issuer": provider.url, "page_origins": [provider.url]})
        yield replace(gateway, environ={**gateway.environ, "SIGN_IN": rules}, made={})


def test_a_program_sends_the_token_in_place_of_a_key(gateway: Gateway, provider: Provider) -> None:
    bob = Person(gateway, provider.id_token("bob"))
    job = bob.submitted()
    me = bob("GET", "/me").json
    assert (me["owner"], me["scopes"], me["user"]) == ("sso.bob", ["jobs"], None)
    assert (me["limits"]["max_active_jobs"], me["key"]["name"]) == (2, "bob")
    assert [one["job_id"] for one in bob("GET", "/jobs").json["jobs"]] == [job]
    bob.submitted()
    assert code(bob("POST", "/jobs", PICTURE)) == (429, "too_many_jobs")
    assert code(bob.ask("GET", "/metrics")) == (403, "forbidden")
    assert Person(gateway, provider.id_token("alice")).ask("GET", "/metrics").status == 200


def test_people_see_nothing_of_each_other_and_of_keys(
    gateway: Gateway, provider: Provider, clock: FrozenClock
) -> None:
    """Also of a key whose owner is named like the person."""
    bob, carol = (Person(gateway, provider.id_token(name)) for name in ("bob", "carol"))
    keys = gateway.aws.keys
    _, text = create_key(OwnerId("bob"), scopes=["jobs"], expires_at=None, keys=keys, clock=clock)
    job = bob.submitted()
    for stranger in (carol, Person(gateway, text)):
        assert code(stranger("GET", f"/jobs/{job}")) == (404, "job_not_found")


def test_a_token_is_exchanged_for_a_session(
    gateway: Gateway, provider: Provider, clock: FrozenClock
) -> None:
    browser = Browser(gateway)
    reply = browser.sign_in(provider.id_token("alice"))
    assert reply.status == 201
    assert reply.json["caller"]["owner"] == "sso.alice"
    assert "Max-Age=3600;" in reply.cookies[0]
    page = browser.page()
    job = page.submitted()
    clock.advance(timedelta(minutes=59))  # the provider's token has nearly ended
    assert browser.page()("GET", f"/jobs/{job}").status == 200
    page = browser.page()
    browser("DELETE", "/sessions")
    assert code(page("GET", "/jobs")) == (401, "unauthorized")


def test_a_session_of_a_person_ends_by_the_rules(
    gateway: Gateway, provider: Provider, clock: FrozenClock
) -> None:
    browser = Browser(gateway)
    browser.sign_in(provider.id_token("alice"))
    clock.advance(timedelta(minutes=60))
    assert browser("POST", "/sessions/token").status == 401


def test_a_token_ends_by_the_clock(
    gateway: Gateway, provider: Provider, clock: FrozenClock
) -> None:
    bob = Person(gateway, provider.id_token("bob"))
    cached = bob.context()  # of API Gateway, for 30 s
    clock.advance(timedelta(minutes=62))
    assert code(bob("GET", "/jobs")) == (401, "unauthorized")
    late = replace(gateway, caller=cached, owner="sso.bob")
    assert late("GET", "/api/v1/jobs").status == 401


@pytest.mark.parametrize("has_session", [True, False])
def test_a_socket_is_opened_with_a_pass(
    gateway: Gateway, provider: Provider, clock: FrozenClock, has_session: bool
) -> None:
    token = provider.id_token("bob")
    browser = Browser(gateway)
    browser.sign_in(token)
    bob = browser.page() if has_session else Person(gateway, token)
    ticket = bob("POST", "/ws-tickets").json["ticket"]
    opening = {"methodArn": "arn", "queryStringParameters": {"ticket": ticket}}
    answer = gateway.call("AuthorizeSocket", opening)
    assert answer["principalId"] == "sso.bob"
    assert answer["context"]["max_active_jobs"] == "2"
    assert gateway.call("AuthorizeSocket", opening)["principalId"] == "nobody"


def test_a_socket_is_opened_with_the_token_itself(gateway: Gateway, provider: Provider) -> None:
    headers = {"Authorization": f"Bearer {provider.id_token('bob')}"}
    opening = {"methodArn": "arn", "headers": headers}
    assert gateway.call("AuthorizeSocket", opening)["principalId"] == "sso.bob"


def test_a_person_makes_nothing_that_lives_longer(gateway: Gateway, provider: Provider) -> None:
    bob = Person(gateway, provider.id_token("bob"))
    assert code(bob("POST", "/tokens", {"user": "x"})) == (403, "forbidden")
    link = Browser(gateway)("POST", "/sessions/links", {"authorization": f"Bearer {bob.bearer}"})
    assert code(link) == (403, "forbidden")


@pytest.mark.parametrize("change", [lambda t: t[:-4] + "AAAA", lambda t: t + "A" * MAX_JWT])
def test_a_token_that_is_changed_or_huge_is_401(
    gateway: Gateway, provider: Provider, change: Any
) -> None:
    wrong = change(provider.id_token("bob"))
    assert code(Person(gateway, wrong)("GET", "/jobs")) == (401, "unauthorized")
    assert code(Browser(gateway).sign_in(wrong)) == (401, "unauthorized")


def test_keys_work_beside_it_and_alone_without_an_issuer(
    gateway: Gateway, provider: Provider, clock: FrozenClock
) -> None:
    keys, token = gateway.aws.keys, provider.id_token("bob")
    _, text = create_key(OwnerId("k"), scopes=["jobs"], expires_at=None, keys=keys, clock=clock)
    assert Person(gateway, text)("GET", "/jobs").status == 200
    environ = {name: value for name, value in gateway.environ.items() if name != "SIGN_IN"}
    without = replace(gateway, environ=environ, made={})
    assert Person(without, text)("GET", "/jobs").status == 200
    assert code(Person(without, token)("GET", "/jobs")) == (401, "unauthorized")


def test_a_page_learns_where_people_sign_in(gateway: Gateway, provider: Provider) -> None:
    found = gateway("GET", "/api/v1/sign-in").json["issuer"]
    assert found["authorization_endpoint"] == f"{provider.url}/oauth2/authorize"
    assert found["client_id"] == CLIENT
    environ = {name: value for name, value in gateway.environ.items() if name != "SIGN_IN"}
    without = replace(gateway, environ=environ, made={})
    assert without("GET", "/api/v1/sign-in").json == {"issuer": None}


def test_an_issuer_that_is_away_is_told(
    gateway: Gateway, provider: Provider, clock: FrozenClock
) -> None:
    rules = json.dumps({**RULES, "issuer": "http://127.0.0.1:9"})
    away = replace(gateway, environ={**gateway.environ, "SIGN_IN": rules}, made={})
    assert code(away("GET", "/api/v1/sign-in")) == (503, "unavailable")
    assert code(Browser(away).sign_in(provider.id_token("bob"))) == (503, "unavailable")
