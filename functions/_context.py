"""What the functions learn of a caller: the context that an authorizer hands over with a request.

A function whose route has no authorizer makes the same context itself.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import quote

from comfyline.service.access.keys import is_vouched
from comfyline.service.access.tokens import Token
from functions._handlers import INVALID_KEY, OWNER_WATCHED_UNTIL, logger

if TYPE_CHECKING:
    from comfyline.service.access.authenticate import Identity
    from comfyline.service.access.keys import Flags
    from functions._wiring import Wiring


def context_of_request(found: Identity | None, wiring: Wiring) -> dict[str, str]:
    """The context of an HTTP request, also of one that is to be refused."""
    if found is None:
        logger.info("caller refused", extra={"action": "caller_refused"})
        return {INVALID_KEY: "true"}
    logger.debug("caller known", extra={"action": "caller_known"})
    context = context_of(found, wiring.access.flags())
    if until := wiring.aws.keys.owner_watched_until(found.key.owner):
        context[OWNER_WATCHED_UNTIL] = until.isoformat()
    return context


def context_of(found: Identity, flags: Flags) -> dict[str, str]:
    """Owner, scopes, limits and switches, and what there is to know of a token or a session."""
    key, token, session = found.key, found.token, found.session
    bounds = {name: str(bound) for name, bound in asdict(key.limits).items() if bound is not None}
    switches = {name: str(value).lower() for name, value in asdict(flags).items()}
    scopes = " ".join(sorted(found.scopes))
    caller = {"owner": key.owner, "key_id": key.id, "scopes": scopes, **bounds, **switches}
    if key.name:
        caller["key_name"] = quote(key.name)  # ASCII, whatever the gateway makes of others
    if key.expires_at is not None:
        caller["key_ends_at"] = key.expires_at.isoformat()
    if is_vouched(key.id) and key.expires_at is not None:
        caller["ends_at"] = key.expires_at.isoformat()  # it is short, so no cache may prolong it
    if session is not None:
        caller |= {"session": session.sha256, "ends_at": session.expires_at.isoformat()}
    return caller if token is None else caller | _of_token(token)


def _of_token(token: Token) -> dict[str, str]:
    """What the functions must know of a token. An attribute that it does not have is left out."""
    known = {"user": token.user, "token": token.sha256, "max_jobs": token.max_jobs}
    shown = {name: str(value) for name, value in known.items() if value is not None}
    return {**shown, "ends_at": token.expires_at.isoformat()}
