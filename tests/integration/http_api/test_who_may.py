"""Who may call which route: each kind of credential at each route of the deployment.

The table below says what a route needs. It names every route, so a new one cannot be forgotten. A
caller gets 401 if its credential is not valid, 403 if it may do less, and another answer otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import create_key, disable_key, new_key
from comfyline.service.access.keys import ApiKey
from infra.functions import ROUTES
from tests.integration.http_api.browser import Browser
from tests.integration.http_api.people import Person
from tests.support.builders import FrozenClock, now
from tests.support.gateway import Gateway, functions_on_moto
from tests.support.issuer import CLIENT, Provider, a_provider

OWNER = OwnerId("acme")
READ, WRITE, ADMIN, KEYS, ANY = "jobs:read", "jobs", "admin", "keys", ""


@dataclass(frozen=True)
class Needs:
    """What a route needs."""

    scope: str
    takes_tokens: bool = False  # of users
    stored_key: bool = False  # no session, and no person: what the route makes outlives these


OPEN = None
A_JOB, V2, A_KEY = "/api/v1/jobs/{job_id}", "/api/v2", "/api/v1/keys/{key_id}"
ROUTES_AND_NEEDS: dict[str, Needs | None] = {
    "POST /api/v1/jobs": Needs(WRITE, takes_tokens=True),
    "GET /api/v1/jobs": Needs(READ),
    f"GET {A_JOB}": Needs(READ, takes_tokens=True),
    f"GET {A_JOB}/graph": Needs(READ, takes_tokens=True),
    f"GET {A_JOB}/artifacts": Needs(READ, takes_tokens=True),
    f"GET {A_JOB}/artifacts/{{number}}": Needs(READ, takes_tokens=True),
    f"HEAD {A_JOB}/artifacts/{{number}}": Needs(READ, takes_tokens=True),
    f"DELETE {A_JOB}": Needs(WRITE, takes_tokens=True),
    f"POST {A_JOB}/retry": Needs(WRITE, takes_tokens=True),
    f"GET {A_JOB}/events": Needs(READ, takes_tokens=True),
    "POST /api/v1/generate": Needs(WRITE, takes_tokens=True),
    "POST /api/v1/uploads": Needs(WRITE, takes_tokens=True),
    "POST /api/v1/ws-tickets": Needs(READ, takes_tokens=True),
    "GET /api/v1/models": Needs(READ, takes_tokens=True),
    "GET /metrics": Needs(ADMIN),
    "GET /api/v1/me": Needs(ANY, takes_tokens=True),
    "GET /api/v1/usage": Needs(READ),
    "POST /api/v1/tokens": Needs(WRITE, stored_key=True),
    "GET /api/v1/keys": Needs(KEYS),
    "POST /api/v1/keys": Needs(KEYS, stored_key=True),
    f"DELETE {A_KEY}": Needs(KEYS),
    f"POST {A_KEY}/rotate": Needs(KEYS, stored_key=True),
    **{
        f"{method} /api/v1/admin/{what}": Needs(ADMIN)
        for method, what in (
            ("GET", "workers"),
            ("GET", "queues"),
            ("GET", "jobs"),
            ("GET", "alarms"),
            ("GET", "errors"),
            ("GET", "owners"),
            ("GET", "keys"),
            ("POST", "keys/{key_id}/disable"),
            ("PUT", "keys/{key_id}/limits"),
            ("POST", "sessions/end"),
            ("GET", "dead-letters"),
            ("POST", "dead-letters/redrive"),
            ("GET", "switches"),
            ("PUT", "switches"),
        )
    },
    f"POST {V2}/jobs": Needs(WRITE, takes_tokens=True),
    f"POST {V2}/jobs/{{job_id}}/cancel": Needs(WRITE, takes_tokens=True),
    f"GET {V2}/jobs": Needs(READ),
    **{
        f"GET {V2}/jobs/{{job_id}}{part}": Needs(READ, takes_tokens=True)
        for part in ("", "/workflow", "/logs", "/events")
    },
    **{
        f"{route} {V2}/assets{part}": Needs(WRITE, takes_tokens=True)
        for route, part in (
            ("POST", ""),
            ("POST", "/from-hash"),
            ("HEAD", "/by-hash/{hash}"),
            ("GET", "/{asset_id}"),
            ("GET", "/{asset_id}/content"),
            ("DELETE", "/{asset_id}"),
        )
    },
    **dict.fromkeys(
        (
            *("GET /healthz", "GET /openapi.json", "GET /asyncapi.json", "GET /", "GET /docs"),
            *("GET /docs/{file}", "GET /api/v1/sign-in", "GET /console", "GET /console/{file}"),
            *("HEAD /console", "HEAD /console/{file}"),
            # They find their caller by rules of their own: see test_session_attacks.py.
            *("POST /api/v1/sessions", "DELETE /api/v1/sessions"),
            *("POST /api/v1/sessions/token", "POST /api/v1/sessions/links"),
        ),
        OPEN,
    ),
}


@dataclass(frozen=True)
class Kind:
    """A kind of credential, and what it may do; no scopes: it is not valid."""

    make: Callable[[World], str]
    scopes: frozenset[str] | None
    is_token: bool = False
    is_stored: bool = True

    def expected(self, needs: Needs) -> int | None:
        """401 or 403; None for any other answer."""
        if self.scopes is None:
            return 401
        held = self.scopes | ({READ} if WRITE in self.scopes else set())
        lacks_scope = needs.scope != ANY and needs.scope not in held
        lacks_key = (self.is_token and not needs.takes_tokens) or (
            needs.stored_key and not self.is_stored
        )
        return 403 if lacks_scope or lacks_key else None


@dataclass(frozen=True)
class World:
    """Makes credentials."""

    gateway: Gateway
    clock: FrozenClock
    provider: Provider

    def key(self, *scopes: str, **known: timedelta) -> str:
        lifetime = known.get("lifetime")
        ends_at = None if lifetime is None else self.clock() + lifetime
        keys = self.gateway.aws.keys
        _, text = create_key(OWNER, scopes=scopes, expires_at=ends_at, keys=keys, clock=self.clock)
        return text

    def expired(self) -> str:
        text = self.key(WRITE, lifetime=timedelta(seconds=1))
        self.clock.advance(timedelta(seconds=1))
        return text

    def disabled(self) -> str:
        text = self.key(WRITE, ADMIN, KEYS)
        disable_key(KeyId(text.split("_")[1]), keys=self.gateway.aws.keys, clock=self.clock)
        return text

    def made(self, change: Callable[[ApiKey], ApiKey] | None) -> str:
        """A key that another one has made, which is then changed, or removed."""
        maker, keys = KeyId(self.key(WRITE, ADMIN, KEYS).split("_")[1]), self.gateway.aws.keys
        key, text = new_key(
            OWNER, scopes=[WRITE, ADMIN], expires_at=None, now=self.clock(), made_by=maker
        )
        keys.put(key)
        if change is None:
            keys.delete(maker)
        else:
            keys.change(maker, change)
        return text

    def token(self, *scopes: str, key: tuple[str, ...] = (WRITE, ADMIN, KEYS)) -> str:
        return self.person(self.key(*key)).token("alice", scopes=[*scopes]).bearer

    def token_of_a_disabled_key(self) -> str:
        key = self.key(WRITE)
        token = self.person(key).token("alice").bearer
        disable_key(KeyId(key.split("_")[1]), keys=self.gateway.aws.keys, clock=self.clock)
        return token

    def expired_token(self) -> str:
        token = self.person(self.key(WRITE)).token("alice", expires_in=60).bearer
        self.clock.advance(timedelta(seconds=60))
        return token

    def session(self, key: str) -> Browser:
        browser = Browser(self.gateway)
        assert browser.sign_in(key).status == 201
        return browser

    def bearer_of_an_ended_session(self) -> str:
        browser = self.session(self.key(WRITE, ADMIN, KEYS))
        bearer = browser.bearer()
        assert browser("DELETE", "/sessions").status == 204
        return bearer

    def link(self, uses: int) -> str:
        headers = {"authorization": f"Bearer {self.key(WRITE, ADMIN)}"}
        code = str(Browser(self.gateway)("POST", "/sessions/links", headers).json["code"])
        for _ in range(uses):
            assert Browser(self.gateway).sign_in(code).status == 201
        return code

    def jwt(self, *groups: str) -> str:
        self.provider.knows("ada", groups=[*groups])
        return self.provider.id_token("ada")

    def person(self, text: str) -> Person:
        return Person(self.gateway, text)


def valid(*scopes: str) -> frozenset[str]:
    return frozenset(scopes)


KINDS: dict[str, Kind] = {
    "nothing": Kind(lambda w: "", None),
    "garbage": Kind(lambda w: "cl_0123456789abcdef_" + "x" * 43, None),
    "key, jobs": Kind(lambda w: w.key(WRITE), valid(WRITE)),
    "key, jobs:read": Kind(lambda w: w.key(READ), valid(READ)),
    "key, admin": Kind(lambda w: w.key(ADMIN), valid(ADMIN)),
    "key, keys": Kind(lambda w: w.key(KEYS), valid(KEYS)),
    "key, a scope that does not exist": Kind(lambda w: w.key("root"), valid("root")),
    "key, no scope": Kind(lambda w: w.key(), valid()),
    "key, expired": Kind(World.expired, None),
    "key, disabled": Kind(World.disabled, None),
    "made key": Kind(lambda w: w.made(lambda maker: maker), valid(WRITE, ADMIN)),
    "made key, maker disabled": Kind(
        lambda w: w.made(lambda maker: replace(maker, disabled_at=w.clock())), None
    ),
    "made key, maker expired": Kind(
        lambda w: w.made(lambda maker: replace(maker, expires_at=w.clock())), None
    ),
    "made key, maker removed": Kind(lambda w: w.made(None), None),
    "made key, maker with another owner": Kind(
        lambda w: w.made(lambda maker: replace(maker, owner=OwnerId("other"))), None
    ),
    "made key, maker with fewer scopes": Kind(
        lambda w: w.made(lambda maker: replace(maker, scopes=valid(READ, KEYS))), valid()
    ),
    "user's token": Kind(lambda w: w.token(WRITE), valid(WRITE), is_token=True, is_stored=False),
    "user's token, jobs:read": Kind(
        lambda w: w.token(READ), valid(READ), is_token=True, is_stored=False
    ),
    "user's token, expired": Kind(World.expired_token, None),
    "user's token, key disabled": Kind(World.token_of_a_disabled_key, None),
    "session": Kind(
        lambda w: w.session(w.key(WRITE, ADMIN, KEYS)).bearer(),
        valid(WRITE, ADMIN, KEYS),
        is_stored=False,
    ),
    "session, ended": Kind(World.bearer_of_an_ended_session, None),
    "sign-in link": Kind(lambda w: w.link(0), None),
    "sign-in link, used": Kind(lambda w: w.link(1), None),
    "person": Kind(lambda w: w.jwt("staff"), valid(WRITE), is_stored=False),
    "person, operator": Kind(lambda w: w.jwt("ops", "staff"), valid(WRITE, ADMIN), is_stored=False),
    "person without a group": Kind(lambda w: w.jwt(), None),
    "person in a group that gives nothing": Kind(lambda w: w.jwt("guests"), None),
    "person in a group that is named like a scope": Kind(lambda w: w.jwt("admin", "jobs"), None),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with a_provider() as provider:
        yield provider


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, provider: Provider) -> Iterator[World]:
    clock = FrozenClock(now())  # that of the provider
    rules = {
        "issuer": provider.url,
        "client_id": CLIENT,
        "scopes_claim": "groups",
        "scopes": {"staff": "jobs", "ops": "admin"},
    }
    with functions_on_moto(monkeypatch, clock) as gateway:
        environ = {**gateway.environ, "SIGN_IN": json.dumps(rules)}
        yield World(replace(gateway, environ=environ, made={}), clock, provider)


def test_the_table_names_every_route() -> None:
    assert {route.key for route in ROUTES} == ROUTES_AND_NEEDS.keys()
    # The functions of sessions find their caller themselves, so they are open here.
    open_here = {key for key, needs in ROUTES_AND_NEEDS.items() if needs is OPEN}
    found_by_functions = {route.key for route in ROUTES if "/sessions" in route.path}
    assert open_here - found_by_functions == {route.key for route in ROUTES if route.is_open}


@pytest.mark.parametrize("name", KINDS)
def test_each_route_answers_as_the_table_says(world: World, name: str) -> None:
    kind = KINDS[name]
    bearer = kind.make(world)
    context = world.person(bearer).context()
    gateway = replace(world.gateway, caller=context, owner=context.get("owner", ""))
    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    wrong = {}
    for route, needs in ROUTES_AND_NEEDS.items():
        if needs is OPEN:
            continue
        method, _, path = route.partition(" ")
        # No route takes a list, and there is no such key and no such job: so nothing is changed.
        url = re.sub(r"\{\w+\}", "0" * 16, path.replace("{number}", "0"))
        status = gateway(method, url, [], headers=headers).status
        expected = kind.expected(needs)
        if status != expected and (expected is not None or status in (401, 403) or status >= 500):
            wrong[route] = (status, expected)
    assert wrong == {}
