"""Where the service is and who asks: arguments first, then the environment, read when called."""

from __future__ import annotations

import os

import httpx

from comfyline.client.errors import NotConfigured
from comfyline.contract.v1.common import API_PREFIX


def required_url(url: str | None) -> str:
    """The service's root, without the API's prefix and a slash at its end."""
    value = (url if url is not None else os.environ.get("COMFYLINE_URL", "")).strip().rstrip("/")
    if not value:
        raise NotConfigured("COMFYLINE_URL is not set: the URL of the service")
    # A user who pastes the whole address of the API means the same.
    return _with_scheme("COMFYLINE_URL", value, "http", "https").removesuffix(API_PREFIX)


def optional_ws_url(ws_url: str | None) -> str | None:
    """Where the live socket is; None if nobody says."""
    value = (ws_url if ws_url is not None else os.environ.get("COMFYLINE_WS_URL", "")).strip()
    return _with_scheme("COMFYLINE_WS_URL", value, "ws", "wss") if value else None


def _with_scheme(name: str, value: str, *schemes: str) -> str:
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL as error:
        raise NotConfigured(f"{name} is not a URL: {value}") from error
    if url.scheme not in schemes or not url.host:
        raise NotConfigured(f"{name} must begin with {schemes[-1]}://, but is {value}")
    return value


def required_key(api_key: str | None) -> str:
    """The API key, fit for a header."""
    # A key read from a file brings its newline along.
    value = (api_key if api_key is not None else os.environ.get("COMFYLINE_API_KEY", "")).strip()
    if not value:
        raise NotConfigured("COMFYLINE_API_KEY is not set: your API key, cl_...")
    if not (value.isascii() and value.isprintable()):
        raise NotConfigured("COMFYLINE_API_KEY holds characters that no key has")
    return value
