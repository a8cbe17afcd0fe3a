"""After the end of a session nothing that was made with it is accepted, and its sockets close."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId, KeyId, OwnerId
from comfyline.operate import admin, wiring
from comfyline.service.access.sessions import end_sessions
from comfyline.service.access.sign_in import SignIn
from tests.integration.http_api.browser import SESSIONS, TOKEN, Browser, Held
from tests.integration.http_api.test_tokens import Person
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway

End = Callable[[Browser], None]


def signed_out(browser: Browser) -> None:
    assert replace(browser, jar=dict(browser.jar))("DELETE", SESSIONS).status == 204


def signed_out_everywhere(browser: Browser) -> None:
    other = replace(browser, jar=dict(browser.jar))
    assert other("DELETE", f"{SESSIONS}?everywhere=true").status == 204


def ended_by_an_operator(browser: Browser) -> None:
    operator = replace(browser.gateway, caller={**browser.gateway.caller, "scopes": "admin"})
    path = "/api/v1/admin/sessions/end"
    answer = operator("POST", path, {"owner": "acme"})
    assert (answer.status, answer.json["more"]) == (200, False)
    assert answer.json["ended"] >= 1


def ended_by_the_command(browser: Browser) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "now", browser.gateway.clock)
        done = CliRunner().invoke(admin.app, ["sessions", "end", "acme"])
    assert re.fullmatch("[1-9] ended\n", done.output)


ENDS: list[End] = [
    signed_out,
    signed_out_everywhere,
    ended_by_an_operator,
    ended_by_the_command,
]


def connect(gateway: Gateway, name: str, **sent: object) -> str:
    """Open a socket as API Gateway does; returns the authorizer's word."""
    about = gateway.call("AuthorizeSocket", {**sent, "methodArn": "arn"})
    effect: str = about["policyDocument"]["Statement"][0]["Effect"]
    if effect == "Allow":
        context = {"requestId": name, "connectionId": name, "authorizer": about["context"]}
        reply = gateway.call("SocketConnect", {"requestContext": context})
        assert reply["statusCode"] == 200
    return effect


def with_pass(secret: str) -> dict[str, object]:
    return {"queryStringParameters": {"ticket": secret}}


def with_header(bearer: str) -> dict[str, object]:
    return {"headers": {"Authorization": f"Bearer {bearer}"}}


@pytest.mark.parametrize("end", ENDS)
def test_every_credential_of_an_ended_session_is_refused(signed_in: Browser, end: End) -> None:
    gateway, bearer = signed_in.gateway, signed_in.bearer()
    page = Person(gateway, bearer)
    unused = page("POST", "/ws-tickets").json["ticket"]
    assert connect(gateway, "before", **with_header(bearer)) == "Allow"
    end(signed_in)
    assert page("GET", "/jobs").status == 401
    assert signed_in("POST", TOKEN).status == 401
    assert connect(gateway, "header", **with_header(bearer)) == "Deny"
    assert connect(gateway, "pass", **with_pass(unused)) == "Deny"


@pytest.mark.parametrize("end", ENDS)
def test_the_sockets_of_an_ended_session_are_closed_by_the_next_round(
    signed_in: Browser, end: End
) -> None:
    sockets = InMemorySockets()
    gateway = signed_in.gateway.altered(sockets=sockets)
    bearer = signed_in.bearer()
    ticket = Person(gateway, bearer)("POST", "/ws-tickets").json["ticket"]
    assert connect(gateway, "by-pass", **with_pass(ticket)) == "Allow"
    assert connect(gateway, "by-header", **with_header(bearer)) == "Allow"
    assert "SocketClosed" not in gateway.call("SweepJobs", {})
    end(signed_in)
    assert gateway.call("SweepJobs", {})["SocketClosed"] == 2
    assert sockets.closed == {ConnectionId("by-pass"), ConnectionId("by-header")}
    assert gateway.aws.connections.open_sockets() == []


def test_a_sign_out_leaves_the_other_sessions_of_the_key_and_everywhere_ends_them(
    signed_in: Browser, held: Held
) -> None:
    second, third = (Browser(signed_in.gateway) for _ in range(2))
    for browser in (second, third):
        browser.sign_in(held.text)
    signed_out(second)
    assert [one("POST", TOKEN).status for one in (signed_in, second, third)] == [201, 401, 201]
    signed_out_everywhere(third)
    assert [one("POST", TOKEN).status for one in (signed_in, third)] == [401, 401]


def test_an_operator_ends_the_sessions_of_one_owner_or_of_one_key_only(
    signed_in: Browser, held: Held, clock: FrozenClock
) -> None:
    aws = signed_in.gateway.aws
    sign_in = SignIn(
        keys=aws.keys,
        sessions=aws.sessions,
        tokens=lambda: aws.tokens,
        links=lambda: aws.sign_in_links,
        clock=clock,
    )
    person = replace(held.key, id=KeyId("sso-" + "1" * 32), owner=OwnerId("sso.ada@example.com"))
    other = replace(held.key, id=KeyId("sso-" + "2" * 32), owner=person.owner)
    cookies = {key.id: sign_in.start(key)[1] for key in (person, other)}
    for owner, key_id, ended in [
        (person.owner, held.key.id, 0),
        (person.owner, person.id, 1),
        (OwnerId("nobody"), None, 0),
    ]:
        assert end_sessions(owner, key_id, sessions=aws.sessions, clock=clock) == ended
    assert [sign_in.find(cookies[key.id]) is None for key in (person, other)] == [True, False]
    assert signed_in("POST", TOKEN).status == 201
    assert end_sessions(person.owner, None, sessions=aws.sessions, clock=clock) == 1
    assert sign_in.find(cookies[other.id]) is None
