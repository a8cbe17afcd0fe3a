"""Where the service is, and with which key: from arguments, environment variables or a profile."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from comfyline.client import profiles
from comfyline.client.errors import NotConfigured, PlainHttpWarning
from comfyline.contract.v1.common import API_PREFIX


@dataclass(frozen=True, slots=True)
class Address:
    """A service's root URL, without the API's prefix; a key for it; its WebSocket, if known."""

    url: str
    api_key: str
    ws_url: str | None


def address(
    url: str | None = None,
    api_key: str | None = None,
    ws_url: str | None = None,
    profile: str | None = None,
) -> Address:
    """From arguments, else the named profile, else the environment, else the profile in use.

    The two URLs have one source, so that they belong to the same service. The key of a profile is
    sent to no other service: it is not used with a URL from the environment.

    Raises:
        NotConfigured: the URL or the key is missing, or one of the three is unusable.
    """
    found = Address(_of_environment("COMFYLINE_URL"), "", _of_environment("COMFYLINE_WS_URL"))
    key = _of_environment("COMFYLINE_API_KEY")
    if profile is not None or not (url is not None or found.url):
        kept = profiles.current() if profile is None else profiles.read(profile)
        if kept is not None:
            key = kept.api_key if profile is not None else key or kept.api_key
            found = Address(kept.url, "", kept.ws_url)
    return Address(
        _required_url(_stripped(url, found.url)),
        _required_key(_stripped(api_key, key)),
        _optional_ws_url(_stripped(ws_url, found.ws_url)),
    )


def is_in_environment() -> bool:
    """Whether the environment variables name a service, and so win over the profile in use."""
    return bool(_of_environment("COMFYLINE_URL"))


def _required_url(value: str) -> str:
    value = value.rstrip("/")
    if not value:
        raise NotConfigured(
            "COMFYLINE_URL is not set: run `comfyline login`, or set it to the service's URL, "
            "https://..."
        )
    # Users also paste the whole URL of the API.
    return _checked_url("COMFYLINE_URL", value, "http", "https").removesuffix(API_PREFIX)


def _optional_ws_url(value: str) -> str | None:
    return _checked_url("COMFYLINE_WS_URL", value, "ws", "wss") if value else None


def _required_key(value: str) -> str:
    if not value:
        raise NotConfigured(
            "COMFYLINE_API_KEY is not set: run `comfyline login`, or set it to your API key, cl_..."
        )
    if not (value.isascii() and value.isprintable()):
        raise NotConfigured(
            "COMFYLINE_API_KEY holds characters that no API key has: copy the key again"
        )
    return value


def _of_environment(variable: str) -> str:
    return os.environ.get(variable, "").strip()


def _stripped(argument: str | None, otherwise: str | None) -> str:
    # A key that is read from a file ends with a newline.
    return (argument if argument is not None else otherwise or "").strip()


def _checked_url(variable: str, value: str, *schemes: str) -> str:
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise NotConfigured(f"{variable} is not a URL: {value}") from error
    if url.scheme not in schemes or not url.host:
        raise NotConfigured(f"{variable} must begin with {schemes[-1]}://, but it is {value}")
    if url.scheme == schemes[0] and not _is_this_machine(url.host):
        warnings.warn(
            f"{variable} begins with {schemes[0]}://, so the API key is sent to {url.host} without "
            f"encryption. Use {schemes[-1]}://.",
            PlainHttpWarning,
            stacklevel=5,  # the line that makes the client
        )
    return value


def _is_this_machine(host: str) -> bool:
    """Whether requests to the host never leave this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
