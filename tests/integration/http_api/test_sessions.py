"""Signing in at the console, as a browser does, and the attacks on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.cookies import SimpleCookie

import pytest

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.authenticate import create_key, disable_key
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.sessions import BEARER_LIFETIME, MAX_SESSIONS, SESSION_LIFETIME
from comfyline.service.access.slots import Limits
from functions._cookies import with_caller
from functions._request import Request
from infra.functions import ROUTES
from tests.integration.http_api.requests import PICTURE, code
from tests.integration.http_api.test_tokens import Person
from tests.support.builders import FrozenClock, a_result, an_artifact, running, succeeded
from tests.support.gateway import Gateway, Reply
from tests.support.worker_by_hand import Worker

SESSIONS, TOKEN, LINKS = "/sessions", "/sessions/token", "/sessions/links"
OWN = {"origin": "https://api.example.com"}
MADE = [("POST", SESSIONS), ("POST", TOKEN), ("DELETE", SESSIONS), ("POST", LINKS)]


@dataclass(eq=False)
class Browser:
    """Keeps the cookie, and sends it as the pages of `site` would."""

    gateway: Gateway
    address: str = "https://api.example.com"
    site: str = "https://api.example.com"
    jar: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        scheme, _, host = self.address.partition("://")
        sent = {"host": host, **({"x-forwarded-proto": scheme} if scheme == "https" else {})}
        if method not in ("GET", "HEAD"):
            sent["origin"] = self.site
        if self.jar:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        reply = self.gateway(method, "/api/v1" + path, headers={**sent, **(headers or {})})
        for text in reply.cookies:
            for name, morsel in SimpleCookie(text).items():
                self.jar[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.jar[name]
        return reply

    def sign_in(self, secret: str) -> Reply:
        return self("POST", SESSIONS, {"authorization": f"Bearer {secret}"})

    def bearer(self) -> str:
        reply = self("POST", TOKEN)
        assert reply.status == 201, reply.text
        return str(reply.json["token"])

    def page(self) -> Person:
        """The page with a new bearer in its memory."""
        return Person(self.gateway, self.bearer())


@dataclass(frozen=True)
class Held:
    key: ApiKey
    text: str


@pytest.fixture
def held(gateway: Gateway, clock: FrozenClock) -> Held:
    """A key, and what its holder has of it."""
    key, text = create_key(
        OwnerId("acme"),
        scopes=["jobs", "admin"],
        expires_at=None,
        limits=Limits(max_active_jobs=2),
        keys=gateway.aws.keys,
        clock=clock,
    )
    return Held(key, text)


@pytest.fixture
def browser(gateway: Gateway) -> Browser:
    return Browser(gateway)


@pytest.fixture
def signed_in(browser: Browser, held: Held) -> Browser:
    assert browser.sign_in(held.text).status == 201
    return browser


def picture_of(who: Person) -> str:
    """The path of the file of a new job."""
    store = who.gateway.aws.jobs
    job = store.get(JobId(who.submitted()))
    assert job is not None
    ran = running(job, now=job.queued_at)
    store.put_result(ran, a_result(an_artifact(ran)))
    ended = store.save(job, replace(succeeded(job, now=job.queued_at), stored=1))
    return f"/jobs/{ended.id}/artifacts/0"


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


# --- attacks --------------------------------------------------------------------------------------


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
    """API Gateway answers 401 itself to a request without the header. Here nobody is known."""
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
