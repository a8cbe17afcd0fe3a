"""Signing in at the console, as a browser does: sessions, how they end, links, and sockets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key, disable_key
from comfyline.service.access.sessions import BEARER_LIFETIME, MAX_SESSIONS, SESSION_LIFETIME
from functions._cookies import with_caller
from functions._request import Request
from tests.integration.http_api.browser import (
    LINKS,
    OWN,
    SESSIONS,
    TOKEN,
    Browser,
    Held,
    picture_of,
)
from tests.integration.http_api.requests import PICTURE, code
from tests.integration.http_api.test_tokens import Person
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway
from tests.support.worker_by_hand import Worker

# --- what a session does --------------------------------------------------------------------------


def test_a_key_becomes_a_cookie_that_no_script_and_no_other_site_can_use(
    browser: Browser, held: Held, clock: FrozenClock
) -> None:
    reply = browser.sign_in(held.text)
    assert reply.json["caller"]["owner"] == "acme"
    assert reply.json["caller"]["key"]["id"] == held.key.id
    assert reply.json["expires_at"][:19] == (clock() + SESSION_LIFETIME).isoformat()[:19]
    (cookie,) = reply.cookies
    name, value = next(iter(browser.jar.items()))
    assert name == "__Host-comfyline"
    assert cookie == (f"{name}={value}; Max-Age=43200; HttpOnly; SameSite=Strict; Path=/; Secure")
    assert held.text not in cookie
    assert reply.headers["cache-control"] == "no-store"


def test_on_this_machine_the_cookie_has_no_path_and_is_not_secure(
    gateway: Gateway, held: Held
) -> None:
    here = Browser(gateway, "http://127.0.0.1:4566", "http://127.0.0.1:4566")
    (cookie,) = here.sign_in(held.text).cookies
    assert cookie.startswith("comfyline=cls_")
    assert cookie.endswith("; Max-Age=43200; HttpOnly; SameSite=Strict")
    assert here.page()("GET", "/jobs").status == 200


@pytest.mark.parametrize("address", ["http://10.0.0.7:4566", "http://api.example.com"])
def test_without_https_another_machine_keeps_no_cookie(
    gateway: Gateway, held: Held, address: str
) -> None:
    (cookie,) = Browser(gateway, address, address).sign_in(held.text).cookies
    assert cookie.startswith("__Host-")


@pytest.mark.parametrize("context", [None, {}])
def test_an_authorizer_that_names_no_caller_leaves_it_to_the_cookie(
    gateway: Gateway, held: Held, context: dict[str, str] | None
) -> None:
    """Behind an edge each route has an authorizer, which looks at the edge's header only."""
    browser = Browser(gateway)
    browser.sign_in(held.text)
    about = {"http": {"method": "GET"}, "authorizer": {"lambda": context}}
    headers = {"x-forwarded-proto": "https", "sec-fetch-site": "same-origin"}
    cookies = [f"{name}={value}" for name, value in browser.jar.items()]
    event = {"headers": headers, "cookies": cookies, "requestContext": about}
    assert with_caller(Request(event), gateway.wiring).owner == held.key.owner


def test_behind_a_cdn_the_pages_of_the_public_address_are_the_services_own(
    gateway: Gateway, held: Held
) -> None:
    behind = Browser(gateway, "https://abc.execute-api.eu-west-1.amazonaws.com")
    assert behind.sign_in(held.text).status == 201
    assert behind.page()("GET", "/jobs").status == 200


def test_the_bearer_does_what_the_key_may(signed_in: Browser, worker: Worker) -> None:
    page = signed_in.page()
    job = page.submitted()
    assert [one["job_id"] for one in page("GET", "/jobs").json["jobs"]] == [job]
    assert page("GET", "/usage").json["owner"] == "acme"
    assert page.ask("GET", "/metrics").status == 200
    page.submitted()
    assert code(page("POST", "/jobs", PICTURE)) == (429, "too_many_jobs")  # its cap is the key's
    worker.work()
    assert page("DELETE", f"/jobs/{job}?purge=true").status == 202


def test_a_reload_gets_another_bearer_and_several_tabs_have_one_each(signed_in: Browser) -> None:
    tabs = [signed_in.page() for _ in range(3)]
    assert len({tab.bearer for tab in tabs}) == 3
    assert [tab("GET", "/jobs").status for tab in tabs] == [200] * 3


def test_the_answer_of_a_bearer_says_for_how_long(signed_in: Browser, clock: FrozenClock) -> None:
    view = signed_in("POST", TOKEN)
    assert view.json["expires_in"] == 600
    assert view.headers["cache-control"] == "no-store"
    clock.advance(SESSION_LIFETIME - timedelta(seconds=90))
    assert signed_in("POST", TOKEN).json["expires_in"] == 90


def test_an_image_is_fetched_with_the_cookie(signed_in: Browser) -> None:
    path = f"{picture_of(signed_in.page())}?disposition=inline"
    for site in ("same-origin", "none"):
        assert signed_in("GET", path, {"sec-fetch-site": site}).status == 302
    assert signed_in("HEAD", path, OWN).status == 302


def test_an_image_is_fetched_with_a_key_or_a_token_in_the_header(
    gateway: Gateway, held: Held
) -> None:
    owner = Person(gateway, held.text)
    alice = owner.token("alice")
    path = picture_of(alice)
    for who, status in ((owner, 302), (alice, 302), (owner.token("bob"), 404)):
        headers = {"authorization": f"Bearer {who.bearer}"}
        reply = gateway("GET", f"/api/v1{path}", headers=headers)
        assert reply.status == status


# --- how it ends ----------------------------------------------------------------------------------


def test_a_sign_out_ends_the_session_and_its_bearers(signed_in: Browser) -> None:
    page, copy = signed_in.page(), dict(signed_in.jar)
    reply = signed_in("DELETE", SESSIONS)
    assert (reply.status, signed_in.jar) == (204, {})
    assert code(page("GET", "/jobs")) == (401, "unauthorized")
    signed_in.jar = copy  # of a thief
    assert code(signed_in("POST", TOKEN)) == (401, "unauthorized")
    assert signed_in("DELETE", SESSIONS).status == 204


def test_another_session_of_the_key_lives_on(signed_in: Browser, held: Held) -> None:
    other = Browser(signed_in.gateway)
    other.sign_in(held.text)
    signed_in("DELETE", SESSIONS)
    assert other.page()("GET", "/jobs").status == 200


@pytest.mark.parametrize("later", [SESSION_LIFETIME, BEARER_LIFETIME])
def test_both_secrets_end_by_the_clock(
    signed_in: Browser, clock: FrozenClock, later: timedelta
) -> None:
    page = signed_in.page()
    clock.advance(later)
    assert code(page("GET", "/jobs")) == (401, "unauthorized")
    assert signed_in("POST", TOKEN).status == (401 if later == SESSION_LIFETIME else 201)


def test_both_secrets_end_with_their_key(
    signed_in: Browser, held: Held, clock: FrozenClock
) -> None:
    page = signed_in.page()
    disable_key(held.key.id, keys=signed_in.gateway.aws.keys, clock=clock)
    assert code(page("GET", "/jobs")) == (401, "unauthorized")
    assert code(signed_in("POST", TOKEN)) == (401, "unauthorized")
    assert code(signed_in("GET", "/jobs/x/artifacts/0", {"sec-fetch-site": "none"}))[0] == 401
    assert signed_in("DELETE", SESSIONS).status == 204


def test_a_session_ends_when_its_key_expires(
    browser: Browser, gateway: Gateway, clock: FrozenClock
) -> None:
    expires_at = clock() + timedelta(minutes=5)
    _, text = create_key(
        OwnerId("acme"), scopes=["jobs"], expires_at=expires_at, keys=gateway.aws.keys, clock=clock
    )
    assert browser.sign_in(text).json["expires_at"].startswith(expires_at.isoformat()[:19])
    assert browser("POST", TOKEN).json["expires_in"] == 300
    clock.advance(timedelta(minutes=5))
    assert browser("POST", TOKEN).status == 401


def test_a_key_has_a_bounded_number_of_sessions(
    signed_in: Browser, held: Held, clock: FrozenClock
) -> None:
    newest = Browser(signed_in.gateway)
    for _ in range(MAX_SESSIONS):
        clock.advance(timedelta(seconds=1))
        newest.sign_in(held.text)
    assert len(signed_in.gateway.aws.sessions.of_key(held.key.id)) == MAX_SESSIONS
    assert signed_in("POST", TOKEN).status == 401  # the oldest
    assert newest("POST", TOKEN).status == 201


# --- links ----------------------------------------------------------------------------------------


def code_of(browser: Browser, held: Held) -> str:
    reply = browser("POST", LINKS, {"authorization": f"Bearer {held.text}"})
    assert reply.status == 201
    assert reply.headers["cache-control"] == "no-store"
    return str(reply.json["code"])


def test_a_link_signs_in_once(browser: Browser, held: Held) -> None:
    link = code_of(browser, held)
    assert browser.sign_in(link).json["caller"]["owner"] == "acme"
    assert browser.page()("GET", "/jobs").status == 200
    assert code(Browser(browser.gateway).sign_in(link)) == (401, "unauthorized")


def test_a_link_ends_by_the_clock_and_with_its_key(
    browser: Browser, held: Held, clock: FrozenClock
) -> None:
    old, void = code_of(browser, held), code_of(browser, held)
    clock.advance(timedelta(minutes=9))
    disable_key(held.key.id, keys=browser.gateway.aws.keys, clock=clock)
    assert code(browser.sign_in(void)) == (401, "unauthorized")
    clock.advance(timedelta(minutes=1))
    assert code(browser.sign_in(old)) == (401, "unauthorized")


def test_a_link_and_a_socket_pass_do_not_stand_in_for_each_other(
    browser: Browser, held: Held
) -> None:
    link = code_of(browser, held)
    ticket = Person(browser.gateway, held.text)("POST", "/ws-tickets").json["ticket"]
    assert code(browser.sign_in(f"cll_{ticket}")) == (401, "unauthorized")
    opening = {"methodArn": "arn", "queryStringParameters": {"ticket": link.removeprefix("cll_")}}
    assert browser.gateway.call("AuthorizeSocket", opening)["principalId"] == "nobody"
    assert code(Person(browser.gateway, link)("GET", "/jobs")) == (401, "unauthorized")


# --- sockets --------------------------------------------------------------------------------------


def test_a_socket_of_a_page_lives_as_long_as_its_session_may(
    signed_in: Browser, clock: FrozenClock
) -> None:
    ticket = signed_in.page()("POST", "/ws-tickets").json["ticket"]
    opening = {"methodArn": "arn", "queryStringParameters": {"ticket": ticket}}
    context = signed_in.gateway.call("AuthorizeSocket", opening)["context"]
    assert context["ends_at"] == (clock() + SESSION_LIFETIME).isoformat()
    assert (context["owner"], "user" in context) == ("acme", False)


def test_a_pass_of_a_page_ends_with_its_session(signed_in: Browser) -> None:
    ticket = signed_in.page()("POST", "/ws-tickets").json["ticket"]
    signed_in("DELETE", SESSIONS)
    opening = {"methodArn": "arn", "queryStringParameters": {"ticket": ticket}}
    assert signed_in.gateway.call("AuthorizeSocket", opening)["principalId"] == "nobody"
