"""The cookie of a session: its name and attributes, and which requests may use it.

Its name begins with `__Host-`, so that no other host of the domain can set it. Browsers demand
HTTPS and the path `/` for such a name. A service on this machine speaks plain HTTP, and several of
them share an address with different base paths. So there the cookie has another name and no path:
browsers then keep it for the folder of the request that set it, which is `.../api/v1`.

A browser adds the cookie to requests by itself, so it counts only in requests of this service's own
pages. `SameSite=Strict` excludes other sites already; the check of the origin also excludes pages
of other hosts of the same domain, and browsers that do not know the attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from comfyline.service import settings as of
from comfyline.service.access.sessions import SESSION_LIFETIME
from comfyline.service.errors import Forbidden
from functions._addresses import origin_of
from functions._context import context_of_request
from functions._request import Request
from functions._wiring import Wiring

if TYPE_CHECKING:
    from comfyline.service.access.authenticate import Identity

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# What a browser says of a request that a person or a page of the same origin has started.
_OWN_FETCHES = ("same-origin", "none")
OTHER_ORIGIN = "The cookie of a session counts only in requests of this service's own pages."


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie of the address at which this request has reached the service."""

    request: Request
    public_url: str  # where callers reach the service if a CDN is in front of it; may be empty

    @property
    def _own_address(self) -> str:
        # API Gateway sets the header itself and speaks HTTPS only. An emulator does not set it.
        scheme = self.request.header("x-forwarded-proto") or "http"
        return f"{scheme}://{self.request.header('host') or ''}"

    @property
    def _is_secure(self) -> bool:
        own = urlsplit(self._own_address)
        return own.scheme == "https" or own.netloc.rpartition(":")[0] not in _LOOPBACK

    @property
    def name(self) -> str:
        """The cookie's name."""
        return "__Host-comfyline" if self._is_secure else "comfyline"

    @property
    def value(self) -> str | None:
        """The value that was sent. Of several the first, which has the longest path."""
        return next((value for name, value in self._sent() if name == self.name), None)

    def _sent(self) -> Iterator[tuple[str, str]]:
        event = self.request.event
        for part in event.get("cookies") or (self.request.header("cookie") or "").split(";"):
            # Only what separates cookies is removed. A browser lets every host of the domain set a
            # cookie whose name begins with another space, such as U+2000, and then with `__Host-`.
            name, _, value = part.strip(" \t").partition("=")
            yield name, value

    def setting(self, value: str, seconds: int = int(SESSION_LIFETIME.total_seconds())) -> str:
        """The text that sets the cookie; no seconds remove it."""
        where = "; Path=/; Secure" if self._is_secure else ""
        return f"{self.name}={value}; Max-Age={seconds}; HttpOnly; SameSite=Strict{where}"

    def removal(self) -> str:
        """The text that removes the cookie."""
        return self.setting("", 0)

    def require_own_page(self) -> None:
        """Check that a page of this service sends the request.

        Browsers send `Origin` with each request but a plain GET or HEAD. Of these they say where
        they come from in `Sec-Fetch-Site`.

        Raises:
            Forbidden: another page sends it, or nothing says which.
        """
        origin = self.request.header("origin")
        if origin is None:
            is_read = self.request.method in ("GET", "HEAD")
            is_own = is_read and self.request.header("sec-fetch-site") in _OWN_FETCHES
        else:
            is_own = origin in (self._own_address, origin_of(self.public_url))
        if not is_own:
            raise Forbidden(OTHER_ORIGIN)


def cookie_of(request: Request, wiring: Wiring) -> Cookie:
    """The cookie of this request."""
    return Cookie(request, wiring.aws.settings(of.PublicAddress).public_url)


def with_caller(request: Request, wiring: Wiring) -> Request:
    """The request with what an authorizer would have found out about its caller.

    A request with the header needs no cookie, and its cookie is not read.

    Raises:
        Forbidden: the cookie was sent by a page of another origin.
    """
    about: Mapping[str, Any] = request.event["requestContext"]
    if (about.get("authorizer") or {}).get("lambda"):  # that of the edge names no caller
        return request
    caller = {"lambda": context_of_request(_found(request, wiring), wiring)}
    return Request({**request.event, "requestContext": {**about, "authorizer": caller}})


def _found(request: Request, wiring: Wiring) -> Identity | None:
    authorization = request.header("authorization")
    if authorization is not None:
        return wiring.access.authenticate(authorization)
    cookie = cookie_of(request, wiring)
    if cookie.value is None:
        return None
    cookie.require_own_page()
    return wiring.access.sign_in.find(cookie.value)
