"""The length of a page, as a request asks for it, and what it costs."""

from __future__ import annotations

import re

from comfyline.service.access.budgets import REQUESTS
from functions._request import Request, invalid
from functions._wiring import Wiring

MAX_LIMIT = 100
# A longer page counts as a request for each so many jobs, because it reads as much.
JOBS_PER_REQUEST = 20


def count_jobs(request: Request, wiring: Wiring, jobs: int) -> None:
    """Count what reading so many jobs costs beyond one request.

    Raises:
        TooManyRequests: the owner has used up its budget.
    """
    if more := (jobs - 1) // JOBS_PER_REQUEST:
        wiring.access.budgets.spend(request.principal, REQUESTS, request.limits, more)


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
