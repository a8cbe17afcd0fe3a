"""Pages, which people open by addresses that they type: one with a slash at its end leads on."""

from __future__ import annotations

from urllib.parse import quote

from functions._http import Answer
from functions._request import Request


def without_slash(request: Request) -> Answer | None:
    """308 to the same address without the slash at its end; None if there is no such slash.

    A page names its files relative to itself, so each page has one address. The new address is
    relative, too, because the service may be below a path, and never names another host.
    """
    path: str = request.event["rawPath"]
    name = path.rstrip("/").rpartition("/")[2]
    if not name or not path.endswith("/"):
        return None
    query = request.event.get("rawQueryString")
    address = f"../{quote(name)}" + (f"?{query}" if query else "")
    headers = {"content-type": "text/plain", "cache-control": "no-cache", "location": address}
    return Answer("", 308, headers)
