"""Parse the events of an HTTP API (payload format 2.0)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from comfyline.api.json import json_value
from comfyline.contract.comfy_v2.common import PREFIX as COMFY_PREFIX
from comfyline.contract.ids import JOB_ID_PATTERN, JobId, KeyId, OwnerId, Principal
from comfyline.contract.limits import MAX_BODY_BYTES
from comfyline.service.access.keys import is_vouched, with_included
from comfyline.service.access.slots import Limits
from comfyline.service.errors import (
    SEND_FILES,
    FieldError,
    Forbidden,
    InvalidRequest,
    JobNotFound,
    JobsDisabled,
    KeyNotFound,
    MalformedRequest,
    RequestTooLarge,
    Unauthorized,
)
from functions._handlers import INVALID_KEY, OWNER_WATCHED_UNTIL, Event, Sender

# Of a route that every valid key and token may call, whatever it may do elsewhere.
ANY_SCOPE = ""

_KEY_ONLY = "A token cannot do this. Send the API key itself."
_STORED_KEY_ONLY = (
    "A session cannot do this, because what it makes would outlive it. Send an API key itself."
)
_PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, as the gateway hands it over."""

    event: Event

    @property
    def id(self) -> str:
        """The caller's X-Request-ID if it is short and printable, else the gateway's own id."""
        given = self.header("x-request-id") or ""
        return given if _PRINTABLE.fullmatch(given) else self.gateway_id

    @property
    def gateway_id(self) -> str:
        """The gateway's own id, which no caller can choose. Its access log has the same one."""
        return str(self.event["requestContext"]["requestId"])

    @property
    def is_comfy(self) -> bool:
        """Whether it is a request of Comfy API v2, whose errors have a form of their own."""
        return str(self.event.get("rawPath")).startswith(f"{COMFY_PREFIX}/")

    @property
    def sender(self) -> Sender:
        """Who has sent the request, as the authorizer has found."""
        return Sender(self._caller)

    @property
    def owner(self) -> OwnerId:
        """The owner, who may see everything of its own.

        Raises:
            Forbidden: the token of a user was sent, who may see only a part; see `principal`.
        """
        if self.sender.user is not None:
            raise Forbidden(_KEY_ONLY)
        return self.sender.owner

    @property
    def principal(self) -> Principal:
        """In whose name the request is made: what it may see and touch follows from this."""
        return self.sender.principal

    @property
    def limits(self) -> Limits:
        """The limits that the API key sets its owner."""
        return self.sender.limits

    @property
    def owner_watched_until(self) -> datetime | None:
        """Until when a client follows all jobs of the owner; None if none does."""
        text = self._caller.get(OWNER_WATCHED_UNTIL)
        return datetime.fromisoformat(text) if text else None

    @property
    def _caller(self) -> Mapping[str, str]:
        caller: Mapping[str, str] = self.event["requestContext"]["authorizer"]["lambda"]
        return caller

    def require(self, scope: str, now: datetime) -> None:
        """Check that the API key or the token is valid and has the scope.

        The gateway keeps the authorizer's answer for a while, so the end of a token is checked
        here.

        Raises:
            Unauthorized: the key or the token is not valid.
            Forbidden: it does not have the scope.
        """
        if INVALID_KEY in self._caller:
            raise Unauthorized
        ends_at = self.sender.ends_at
        if ends_at is not None and now >= ends_at:
            raise Unauthorized
        if scope != ANY_SCOPE and scope not in with_included(self.sender.scopes):
            raise Forbidden(f"The key lacks the scope {scope}.")

    def require_key(self) -> None:
        """Check that the API key itself or a bearer of its session was sent.

        Raises:
            Forbidden: another token was sent.
        """
        if self.sender.token is not None and self.sender.session is None:
            raise Forbidden(_KEY_ONLY)

    def require_stored_key(self) -> None:
        """Check that an API key was sent: for routes that make credentials which live as long.

        Raises:
            Forbidden: the bearer of a session was sent, or the token of an issuer.
        """
        if self.sender.session is not None or is_vouched(self.sender.key_id):
            raise Forbidden(_STORED_KEY_ONLY)

    def require_jobs_enabled(self) -> None:
        """Check that the service accepts jobs.

        Raises:
            JobsDisabled: an operator has paused it.
        """
        if not self.sender.is_on("jobs_enabled"):
            raise JobsDisabled("an operator has paused the service")

    @property
    def method(self) -> str:
        """The HTTP method, in capitals."""
        return str(self.event["requestContext"]["http"]["method"])

    @property
    def job_id(self) -> JobId:
        """The job id in the path.

        Raises:
            JobNotFound: the text in the path is no job id.
        """
        text = self.path_parameter("job_id") or ""
        if not re.fullmatch(JOB_ID_PATTERN, text):
            raise JobNotFound(text)
        return JobId(text)

    @property
    def key_id(self) -> KeyId:
        """The id of a key in the path.

        Raises:
            KeyNotFound: the text in the path is no id of a key.
        """
        text = self.path_parameter("key_id") or ""
        if not re.fullmatch("[0-9a-f]{16}", text):
            raise KeyNotFound(text)
        return KeyId(text)

    def path_parameter(self, name: str) -> str | None:
        """The part of the path that the route names so; None if the route has no such part."""
        value: str | None = (self.event.get("pathParameters") or {}).get(name)
        return value

    def header(self, name: str) -> str | None:
        """A header's value; `name` is in lower case."""
        value: str | None = (self.event.get("headers") or {}).get(name)
        return value

    def query(self, name: str) -> str | None:
        """A query parameter's value."""
        value: str | None = (self.event.get("queryStringParameters") or {}).get(name)
        return value

    def json(self) -> Any:
        """The parsed body; see `json_value`.

        Raises:
            MalformedRequest: the body is not JSON, or it is nested too deeply.
            RequestTooLarge: the body is longer than MAX_BODY_BYTES.
        """
        body = self.body()
        if len(body) > MAX_BODY_BYTES:
            raise RequestTooLarge(f"A body has at most {MAX_BODY_BYTES} bytes. {SEND_FILES}")
        try:
            return json_value(body.decode())
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"The body is not UTF-8: {error}.") from error

    def body(self) -> bytes:
        """The bytes of the body.

        Raises:
            MalformedRequest: the gateway's encoding of them is damaged.
        """
        text: str = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return text.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise MalformedRequest("The body is not valid base64.") from error


def invalid(detail: str, *loc: str) -> InvalidRequest:
    """The error (422) that names one invalid field."""
    return InvalidRequest(detail, [FieldError(loc, detail)])
