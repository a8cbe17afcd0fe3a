"""Attacks on the sessions of the console."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from comfyline.service.access.slots import Limits
from infra.functions import ROUTES
from tests.integration.http_api.browser import (
    LINKS,
    MADE,
    OWN,
    SESSIONS,
    TOKEN,
    Browser,
    Held,
    picture_of,
)
from tests.integration.http_api.people import a_person
from tests.integration.http_api.requests import code
from tests.integration.http_api.test_tokens import Person
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway


@pytest.mark.parametrize(
    "site",
    ["https://evil.example", "https://www.example.com", "http://api.example.com", "null", ""],
)
@pytest.mark.parametrize(("method", "path"), MADE[:3])
def test_a_page_of_another_origin_uses_no_cookie_and_signs_nobody_in(
    signed_in: Browser, held: Held, site: str, method: str, path: str
) -> None:
    signed_in.site = site
    headers = {"authorization": f"Bearer {held.text}"} if path == SESSIONS else {}
    reply = signed_in(method, path, headers if method == "POST" else {})
    assert code(reply) == (403, "forbidden")
    assert not reply.cookies
    signed_in.site = signed_in.address
    assert signed_in("POST", TOKEN).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_an_image_of_another_page_gets_nothing_with_the_cookie(
    signed_in: Browser, headers: dict[str, str]
) -> None:
    path = picture_of(signed_in.page())
    assert code(signed_in("GET", path, headers)) == (403, "forbidden")


@pytest.mark.parametrize("route", [r for r in ROUTES if r.has_authorizer], ids=lambda r: r.key)
def test_no_other_route_knows_the_cookie(signed_in: Browser, route: object) -> None:
    """API Gateway answers 401 itself to a request without the header. Here it is unknown."""
    gateway = replace(signed_in.gateway, caller={"invalid_key": "true"}, owner="")
    stranger = replace(signed_in, gateway=gateway)
    key = str(getattr(route, "key", ""))
    method, _, path = key.partition(" ")
    cookie = {"cookie": "; ".join(f"{n}={v}" for n, v in signed_in.jar.items())}
    reply = stranger.gateway(method, path, {}, headers={**cookie, **OWN})
    assert reply.status == 401


def test_a_planted_cookie_is_not_taken_over(browser: Browser, held: Held) -> None:
    browser.jar["__Host-comfyline"] = planted = f"cls_{held.key.id}_" + "x" * 43
    browser.sign_in(held.text)
    assert browser.jar["__Host-comfyline"] != planted
    browser.jar["__Host-comfyline"] = planted
    assert browser("POST", TOKEN).status == 401


# What Python takes for space, beyond what separates cookies.
SPACES = [c for c in map(chr, range(0x3100)) if c.isspace() and c not in " \t"]


def test_a_cookie_of_another_host_of_the_domain_is_not_taken(
    signed_in: Browser, gateway: Gateway, clock: FrozenClock
) -> None:
    """Browsers let it be set, because its name does not begin with `__Host-` for them."""
    evil, mine = Browser(gateway), signed_in.jar
    evil.sign_in(a_person(gateway, "evil").bearer)
    for space in SPACES:
        planted = {f"{space}__Host-comfyline": evil.jar["__Host-comfyline"]}
        signed_in.jar = {**planted, **mine}
        assert signed_in("POST", TOKEN).json["caller"]["owner"] == "acme"
        signed_in.jar = planted
        assert code(signed_in("POST", TOKEN)) == (401, "unauthorized")


def test_the_cookie_of_a_session_names_the_key_that_it_is_of(
    signed_in: Browser, gateway: Gateway, clock: FrozenClock
) -> None:
    """The key's id is no secret, so another one is tried with the same secret."""
    other, _ = create_key(
        OwnerId("other"), scopes=["jobs"], expires_at=None, keys=gateway.aws.keys, clock=clock
    )
    secret = signed_in.jar["__Host-comfyline"].split("_", 2)[2]
    signed_in.jar["__Host-comfyline"] = f"cls_{other.id}_{secret}"
    assert signed_in("POST", TOKEN).status == 401


@pytest.mark.parametrize(
    "cookie", ["", "cls_", "x" * 5000, "cls_0123456789abcdef_" + "é" * 43, "clt_" + "x" * 43]
)
def test_a_cookie_that_is_none_is_401(browser: Browser, cookie: str) -> None:
    browser.jar["__Host-comfyline"] = cookie
    assert code(browser("POST", TOKEN)) == (401, "unauthorized")


def test_no_cookie_is_401(browser: Browser) -> None:
    assert code(browser("POST", TOKEN)) == (401, "unauthorized")
    assert browser("DELETE", SESSIONS).status == 204


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer cl_x", "Basic abc", "Bearer cll_x"])
@pytest.mark.parametrize("path", [SESSIONS, LINKS])
def test_what_is_no_key_signs_nobody_in(browser: Browser, path: str, header: str | None) -> None:
    reply = browser("POST", path, {} if header is None else {"authorization": header})
    assert code(reply) == (401, "unauthorized")
    assert not reply.cookies


@pytest.mark.parametrize("spaces", [" ", "  "])
@pytest.mark.parametrize("path", [SESSIONS, LINKS])
def test_a_token_makes_nothing_that_outlives_it(
    signed_in: Browser, held: Held, path: str, spaces: str
) -> None:
    alice = Person(signed_in.gateway, held.text).token("alice").bearer
    for token in (signed_in.bearer(), alice):
        reply = signed_in("POST", path, {"authorization": f"Bearer{spaces}{token}"})
        assert code(reply) == (403, "forbidden")
        assert not reply.cookies


def test_a_bearer_makes_no_tokens(signed_in: Browser) -> None:
    reply = signed_in.page()("POST", "/tokens", {"user": "alice"})
    assert code(reply) == (403, "forbidden")
    assert "session" in reply.json["detail"]


def test_a_key_that_may_see_nothing_of_the_console_gets_no_session(
    browser: Browser, gateway: Gateway, clock: FrozenClock
) -> None:
    _, text = create_key(
        OwnerId("acme"), scopes=["other"], expires_at=None, keys=gateway.aws.keys, clock=clock
    )
    assert code(browser.sign_in(text)) == (403, "forbidden")


def test_a_budget_ends_a_loop_of_sign_ins(
    browser: Browser, gateway: Gateway, clock: FrozenClock
) -> None:
    _, text = create_key(
        OwnerId("acme"),
        scopes=["jobs"],
        expires_at=None,
        limits=Limits(requests_per_minute=3),
        keys=gateway.aws.keys,
        clock=clock,
    )
    assert [browser.sign_in(text).status for _ in range(5)] == [201, 201, 201, 429, 429]
