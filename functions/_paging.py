"""The length of a page, as a request asks for it."""

from __future__ import annotations

import re

from functions._http import Request, invalid

MAX_LIMIT = 100


def limit_of(request: Request, default: int) -> int:
    """The request's `limit`.

    Raises:
        InvalidRequest: it is not a number from 1 to MAX_LIMIT.
    """
    text = request.query("limit")
    if text is None:
        return default
    if not (re.fullmatch(r"[0-9]{1,3}", text) and 1 <= int(text) <= MAX_LIMIT):
        raise invalid(f"limit must be a number from 1 to {MAX_LIMIT}", "query", "limit")
    return int(text)
