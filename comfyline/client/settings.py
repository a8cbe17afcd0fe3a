"""Where the service is, and with which key: from arguments or else environment variables."""

from __future__ import annotations

import os
import warnings
from ipaddress import ip_address

import httpx

from comfyline.client.errors import NotConfigured, PlainHttpWarning
from comfyline.contract.v1.common import API_PREFIX


def required_url(url: str | None) -> str:
    """The service's root URL, without the API's prefix and without a slash at its end."""
    value = _given(url, "COMFYLINE_URL").rstrip("/")
    if not value:
        raise NotConfigured("COMFYLINE_URL is not set: set it to the service's URL, https://...")
    # Users also paste the whole URL of the API.
    return _checked_url("COMFYLINE_URL", value, "http", "https").removesuffix(API_PREFIX)


def optional_ws_url(ws_url: str | None) -> str | None:
    """The WebSocket's URL; None if it is not set."""
    value = _given(ws_url, "COMFYLINE_WS_URL")
    return _checked_url("COMFYLINE_WS_URL", value, "ws", "wss") if value else None


def required_key(api_key: str | None) -> str:
    """The API key, in a form that can be sent as a header."""
    value = _given(api_key, "COMFYLINE_API_KEY")
    if not value:
        raise NotConfigured("COMFYLINE_API_KEY is not set: set it to your API key, cl_...")
    if not (value.isascii() and value.isprintable()):
        raise NotConfigured(
            "COMFYLINE_API_KEY holds characters that no API key has: copy the key again"
        )
    return value


def _given(argument: str | None, variable: str) -> str:
    # A key that is read from a file ends with a newline.
    return (argument if argument is not None else os.environ.get(variable, "")).strip()


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
            stacklevel=4,  # the line that makes the client
        )
    return value


def _is_this_machine(host: str) -> bool:
    """Whether requests to the host never leave this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
