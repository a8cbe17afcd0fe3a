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
    return number_of(request, "limit", default, MAX_LIMIT)


def number_of(request: Request, name: str, default: int, most: int) -> int:
    """The query parameter of that name, or the default.

    Raises:
        InvalidRequest: it is not a number from 1 to `most`.
    """
    text = request.query(name)
    if text is None:
        return default
    if not (re.fullmatch(r"[0-9]{1,3}", text) and 1 <= int(text) <= most):
        raise invalid(f"{name} must be a number from 1 to {most}", "query", name)
    return int(text)
