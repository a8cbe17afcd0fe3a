"""POST and DELETE /api/v1/sessions, POST /api/v1/sessions/token and /links, GET /api/v1/sign-in

API Gateway has no authorizer in front of these routes, because it can find a caller by one header
only and keeps its answer for 30 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from comfyline.contract.v1.sessions import BearerView, IssuerView, LinkView, SessionView, SignInView
from comfyline.service.access.budgets import REQUESTS, TOKENS
from comfyline.service.access.keys import is_vouched, with_included
from comfyline.service.access.sessions import SESSION_LIFETIME
from comfyline.service.errors import Forbidden, Unauthorized
from functions._caller import caller_view
from functions._context import context_of
from functions._cookies import cookie_of
from functions._handlers import Sender, at_start
from functions._http import NO_STORE, Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

if TYPE_CHECKING:
    from comfyline.contract.v1.access import Caller
    from comfyline.service.access.authenticate import Identity

_TOKEN, _LINK = "clt_", "cll_"  # how these secrets begin
_KEY_ONLY = "A token cannot do this. Send the API key itself."
# Of these, each page of the console needs the first or the second.
_OF_CONSOLE = frozenset({"jobs:read", "admin"})

at_start(lambda wiring: wiring.access.sign_in)


@http_handler(scope=None)
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _start(request: Request, wiring: Wiring) -> Answer:
    """201 and the cookie of a new session, for an API key, a link or a token of the issuer.

    A cookie that was sent is not read. A page of another origin may not sign its visitor in.
    """
    cookie = cookie_of(request, wiring)
    if request.header("origin") is not None:
        cookie.require_own_page()
    found = _by_header(request, wiring, links=True)
    if not with_included(found.scopes) & _OF_CONSOLE:
        raise Forbidden("The key lacks the scope jobs:read.")
    rules = wiring.aws.sign_in_rules
    lifetime = rules.session if rules and is_vouched(found.key.id) else SESSION_LIFETIME
    session, text = wiring.access.sign_in.start(found.key, lifetime)
    view = SessionView(caller=_caller(found, wiring), expires_at=session.expires_at)
    seconds = int((session.expires_at - wiring.clock()).total_seconds())
    return Answer(view, 201, NO_STORE, cookie.setting(text, seconds))


def _renew(request: Request, wiring: Wiring) -> Answer:
    """201 with a new bearer of the cookie's session."""
    cookie = cookie_of(request, wiring)
    cookie.require_own_page()
    found = wiring.access.sign_in.find(cookie.value or "")
    if found is None or found.session is None:
        raise Unauthorized
    _spend(found, wiring)
    bearer, text = wiring.access.sign_in.renew(found.session, found.key)
    view = BearerView(
        token=text,
        caller=_caller(found, wiring),
        expires_in=int((bearer.expires_at - wiring.clock()).total_seconds()),
        session_expires_at=found.session.expires_at,
    )
    return Answer(view, 201, NO_STORE)


def _end(request: Request, wiring: Wiring) -> Answer:
    """204, and the cookie and its session are gone; also if they were gone before.

    With `everywhere=true` all sessions of its key end, or of the person whose it is.
    """
    cookie = cookie_of(request, wiring)
    cookie.require_own_page()
    found = wiring.access.sign_in.find(cookie.value or "")
    if found is not None and found.session is not None:
        wiring.access.sign_in.end(found.session)
        if request.query("everywhere") == "true":
            wiring.access.sign_in.end_all(found.session.key_id)
    return Answer("", 204, NO_STORE, cookie.removal())


def _link(request: Request, wiring: Wiring) -> Answer:
    """201 with the code of a link that signs in once, without the key."""
    key = _by_header(request, wiring).key
    if is_vouched(key.id):
        raise Forbidden(_KEY_ONLY)
    link, code = wiring.access.sign_in.make_link(key.owner, key.id)
    return Answer(LinkView(code=code, expires_at=link.expires_at), 201, NO_STORE)


def _show_issuer(_: Request, wiring: Wiring) -> Answer:
    """200 with how people sign in beside a key: where a page sends them, if at all."""
    rules, found = wiring.aws.sign_in_rules, None
    if rules is not None and rules.client_id:
        endpoints = wiring.access.issuer.endpoints()
        found = IssuerView(
            issuer=rules.issuer,
            client_id=rules.client_id,
            scope=rules.scope,
            authorization_endpoint=endpoints.authorization,
            token_endpoint=endpoints.token,
        )
    return Answer(SignInView(issuer=found), headers={"cache-control": "public, max-age=300"})


def _by_header(request: Request, wiring: Wiring, *, links: bool = False) -> Identity:
    """The key of the `Authorization` header, or with `links` that of a link in it.

    Raises:
        Unauthorized: it is not valid, or there is none.
        Forbidden: it is a token. What a token makes must not outlive it.
    """
    authorization = request.header("authorization")
    scheme, _, text = (authorization or "").partition(" ")
    text = text.strip()
    if text.startswith(_TOKEN):
        raise Forbidden(_KEY_ONLY)
    if links and scheme.lower() == "bearer" and text.startswith(_LINK):
        found = wiring.access.sign_in.redeem_link(text)
    else:
        found = wiring.access.authenticate(authorization)
    if found is None:
        raise Unauthorized
    _spend(found, wiring)
    return found


def _caller(found: Identity, wiring: Wiring) -> Caller:
    return caller_view(Sender(context_of(found, wiring.access.flags())))


def _spend(found: Identity, wiring: Wiring) -> None:
    """Count the request, and the credential that it makes."""
    for budget in (REQUESTS, TOKENS):
        wiring.access.budgets.spend(found.key.owner, budget, found.key.limits)


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    "POST /api/v1/sessions": _start,
    "DELETE /api/v1/sessions": _end,
    "POST /api/v1/sessions/token": _renew,
    "POST /api/v1/sessions/links": _link,
    "GET /api/v1/sign-in": _show_issuer,
}
