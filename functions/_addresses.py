"""Addresses of this service."""

from __future__ import annotations

from urllib.parse import urlsplit

_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def origin_of(url: str) -> str:
    """The origin of a URL, as browsers write it; empty if the URL is.

    Browsers write hosts in lower case, and leave the usual port out.
    """
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    return f"{parts.scheme}://{host}" if host else ""
