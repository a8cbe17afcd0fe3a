"""The routes for operators about owners: their failures, their keys and their sessions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from comfyline.api.v1 import accounts, keys
from comfyline.contract.ids import KeyId
from comfyline.contract.limits import DEFAULT_FAILURE_DAYS, MAX_ENDED_SESSIONS, MAX_FAILURE_DAYS
from comfyline.contract.v1.accounts import SessionsEnded
from comfyline.service.access.authenticate import disable_key
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.sessions import end_sessions
from comfyline.service.errors import KeyNotFound
from comfyline.service.ledger.failures import days_until
from functions._handlers import at_start, logger
from functions._http import Answer, http_handler
from functions._paging import count_jobs, limit_of, number_of
from functions._request import Request, invalid
from functions._wiring import Wiring

DEFAULT_LIMIT = 20
# A cursor is the name of a row. DynamoDB refuses a name of more than 2,048 bytes as a bug of ours.
_CURSOR = re.compile("[!-~]{1,100}")
CALLS_FOR_AN_OWNER = 4  # a longer page counts as more requests, because it reads as much

at_start(lambda wiring: (wiring.aws.ledger, wiring.aws.keys, wiring.aws.owners))


@http_handler(scope="admin")
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _errors(request: Request, wiring: Wiring) -> Answer:
    """200 with the failures of the last days, in groups."""
    days = number_of(request, "days", DEFAULT_FAILURE_DAYS, MAX_FAILURE_DAYS)
    groups = wiring.aws.ledger.failures(days_until(wiring.clock(), days))
    return Answer(accounts.failure_list(groups, days))


def _owners(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the owners that have keys."""
    limit = limit_of(request, DEFAULT_LIMIT)
    count_jobs(request, wiring, limit * CALLS_FOR_AN_OWNER)
    owners, cursor = wiring.admin.owners.page(limit, request.query("cursor"))
    return Answer(accounts.owner_page(owners, cursor, wiring.clock()))


def _keys(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the keys of all owners."""
    limit, after = limit_of(request, DEFAULT_LIMIT), request.query("cursor")
    count_jobs(request, wiring, limit)
    if after is not None and not _CURSOR.fullmatch(after):
        raise invalid("Send the `next_cursor` of the page before.", "query", "cursor")
    store = wiring.aws.keys
    found, cursor = store.page(limit, KeyId(after) if after else None)
    makers = store.get_many(sorted({key.made_by for key in found if key.made_by}))
    return Answer(accounts.key_page(found, makers, cursor, wiring.clock()))


def _disable(request: Request, wiring: Wiring) -> Answer:
    """200 with the key, which is disabled for good."""
    key_id = request.key_id
    return _changed("key_disabled", request, wiring, key_id, _disabled(key_id, wiring))


def _limit(request: Request, wiring: Wiring) -> Answer:
    """200 with the key and its new limits, which hold within 30 s."""
    key_id, limits = request.key_id, accounts.new_limits(request.json())
    changed = wiring.aws.keys.change(key_id, lambda key: replace(key, limits=limits))
    return _changed("key_limited", request, wiring, key_id, changed)


def _end_sessions(request: Request, wiring: Wiring) -> Answer:
    """200 with how many sessions were ended. No credential of them is accepted after 30 s."""
    owner, key_id = accounts.sessions_to_end(request.json())
    ended = end_sessions(
        owner, key_id, sessions=wiring.aws.sessions, clock=wiring.clock, most=MAX_ENDED_SESSIONS
    )
    extra = {"action": "sessions_ended", "owner": owner, "ended": ended}
    logger.info("sessions ended", extra={**extra, "by": request.sender.key_id})
    return Answer(SessionsEnded(ended=ended, more=ended == MAX_ENDED_SESSIONS))


def _disabled(key_id: KeyId, wiring: Wiring) -> ApiKey | None:
    return disable_key(key_id, keys=wiring.aws.keys, clock=wiring.clock)


def _changed(
    action: str, request: Request, wiring: Wiring, key_id: KeyId, key: ApiKey | None
) -> Answer:
    if key is None:
        raise KeyNotFound(key_id)
    logger.info(action, extra={"action": action, "key_id": key.id, "by": request.sender.key_id})
    maker = wiring.aws.keys.get(key.made_by) if key.made_by else None
    known = {maker.id: maker} if maker else {}
    return Answer(keys.key_view(key, known, wiring.clock()))


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    "GET /api/v1/admin/errors": _errors,
    "GET /api/v1/admin/owners": _owners,
    "GET /api/v1/admin/keys": _keys,
    "POST /api/v1/admin/keys/{key_id}/disable": _disable,
    "PUT /api/v1/admin/keys/{key_id}/limits": _limit,
    "POST /api/v1/admin/sessions/end": _end_sessions,
}
