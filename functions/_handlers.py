"""Make Lambda handlers of functions of an event and a `Wiring`."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache, wraps
from importlib import import_module
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

from aws_lambda_powertools import Logger

from comfyline.contract.ids import KeyId, OwnerId, Principal, UserId, principal_of
from comfyline.service.access.keys import ApiKey, is_vouched
from comfyline.service.access.slots import Allowance, Limits
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

# Lambda sets this variable in the processes of deployed functions.
_STARTED_BY_LAMBDA = "AWS_LAMBDA_INITIALIZATION_TYPE"

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


@dataclass(frozen=True, slots=True)
class Sender:
    """Who has sent a request or opens a socket, as its authorizer has found."""

    known: Mapping[str, str]  # the authorizer's context

    @property
    def owner(self) -> OwnerId:
        """The owner of the API key."""
        return OwnerId(self.known["owner"])

    @property
    def user(self) -> UserId | None:
        """The user of the token; None for the owner itself."""
        user = self.known.get("user")
        return None if user is None else UserId(user)

    @property
    def principal(self) -> Principal:
        """In whose name the call is made: what it may see and touch follows from this."""
        return principal_of(self.owner, self.user)

    @property
    def key_id(self) -> KeyId:
        """The id of the API key, also of a token's."""
        return KeyId(self.known["key_id"])

    @property
    def token(self) -> str | None:
        """The hash of the token; None if the key itself was sent."""
        return self.known.get("token")

    def vouched(self, now: datetime) -> ApiKey | None:
        """The key, if it is that of a person who signs in at an issuer: no store has it."""
        if not is_vouched(self.key_id):
            return None
        return ApiKey(
            id=self.key_id,
            secret_sha256="",
            owner=self.owner,
            scopes=frozenset(self.scopes),
            created_at=now,
            name=self.key_name or "",
            expires_at=self.key_ends_at,
            limits=self.limits,
        )

    @property
    def session(self) -> str | None:
        """The hash of the session, if its cookie or its bearer was sent."""
        return self.known.get("session")

    @property
    def ends_at(self) -> datetime | None:
        """When the token or the session ends; None if the key itself was sent."""
        text = self.known.get("ends_at")
        return None if text is None else datetime.fromisoformat(text)

    @property
    def key_name(self) -> str | None:
        """The name that people have given the API key, if they have."""
        name = self.known.get("key_name")
        return None if name is None else unquote(name)

    @property
    def key_ends_at(self) -> datetime | None:
        """When the API key expires; None if never."""
        text = self.known.get("key_ends_at")
        return None if text is None else datetime.fromisoformat(text)

    @property
    def scopes(self) -> list[str]:
        """What the key or the token may do, sorted."""
        return sorted(self.known["scopes"].split(" "))

    def is_on(self, switch: str) -> bool:
        """Whether that switch of the operator is on, as its authorizer has read it lately."""
        return self.known.get(switch) != "false"

    @property
    def allowance(self) -> Allowance | None:
        """How many jobs the token may make; None if any number."""
        token, most, ends_at = self.token, self.known.get("max_jobs"), self.ends_at
        if token is None or most is None or ends_at is None:
            return None
        return Allowance(token, int(most), ends_at)

    @property
    def limits(self) -> Limits:
        """The limits that the API key sets its owner."""
        bounds = {field.name: self.known.get(field.name) for field in fields(Limits)}
        return Limits(**{name: int(bound) for name, bound in bounds.items() if bound})


def at_start(prepare: Callable[[Wiring], object]) -> None:
    """In a deployed function, make at once what `prepare` gets from the wiring.

    Lambda gives a whole CPU to the start of a process, and to a call only the part that the
    function's memory pays for. So clients are made during the start. Elsewhere, the import of a
    function makes nothing. What a start has made stays, so collections of garbage leave it out.
    """
    if _STARTED_BY_LAMBDA in os.environ:
        prepare(_of_the_process())
        gc.freeze()


def _after_restore() -> None:
    """Seed `random` anew in each process that is restored from a snapshot (SnapStart).

    It was seeded when the snapshot was made. Otherwise all processes would draw the same pauses and
    the same parts of counters, and so meet again and again. Ids and secrets do not depend on it,
    because they come from the operating system.
    """
    if os.environ.get(_STARTED_BY_LAMBDA) == "snap-start":
        import_module("snapshot_restore_py").register_after_restore(random.seed)  # the runtime's


_after_restore()


@cache
def _of_the_process() -> Wiring:
    """The deployed function's wiring, kept while the function stays warm."""
    return Wiring(os.environ)
