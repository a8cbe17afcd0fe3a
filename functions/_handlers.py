"""Make Lambda handlers of functions of an event and a `Wiring`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache, wraps
from typing import Any, Protocol, TypeVar

from aws_lambda_powertools import Logger

from comfyline.service.access.slots import Limits
from comfyline.service.log_lines import log_line
from functions._wiring import Wiring

# A deployed function's environment variables give it its service's name and its level.
logger = Logger(json_serializer=log_line)

Event = Mapping[str, Any]
# In the authorizer's context, which the gateway hands over: the request's key is not valid.
INVALID_KEY = "invalid_key"
# Likewise: until when a client follows all jobs of the owner.
OWNER_WATCHED_UNTIL = "owner_watched_until"
# At the end of its time, a function finishes the work that it has begun. That may take several
# calls of AWS, each with retries.
TIME_TO_SPARE = timedelta(seconds=15)

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)


class Handler(Protocol[A_co]):
    """What Lambda calls, with an event and its context. A test passes its own wiring."""

    def __call__(self, event: Event, context: Any, /, wiring: Wiring | None = None) -> A_co: ...


def lambda_handler(handle: Callable[[Event, Wiring], A]) -> Handler[A]:
    """A Lambda handler that answers what `handle` returns."""

    @wraps(handle)
    def handler(event: Event, _context: Any, /, wiring: Wiring | None = None) -> A:
        return handle(event, wiring or _of_the_process())

    return handler


def deadline_handler(handle: Callable[[Event, Wiring, datetime], A]) -> Handler[A]:
    """A Lambda handler. Its third argument is the time by which it should end.

    That is TIME_TO_SPARE before Lambda ends the function.
    """

    @wraps(handle)
    def handler(event: Event, context: Any, /, wiring: Wiring | None = None) -> A:
        wiring = wiring or _of_the_process()
        left = timedelta(milliseconds=context.get_remaining_time_in_millis())
        return handle(event, wiring, wiring.clock() + left - TIME_TO_SPARE)

    return handler


def limits_of(caller: Mapping[str, str]) -> Limits:
    """The limits of the API key that the authorizer found."""
    bounds = {field.name: caller.get(field.name) for field in fields(Limits)}
    return Limits(**{name: int(bound) for name, bound in bounds.items() if bound})


@cache
def _of_the_process() -> Wiring:
    """The deployed function's wiring, kept while the function stays warm."""
    return Wiring(os.environ)
