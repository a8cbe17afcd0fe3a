"""The keys of an owner: list, make, end and rotate them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from comfyline.api.v1 import keys as forms
from comfyline.contract.v1.access import KeyView, NewKeyResponse
from comfyline.service.access.budgets import NEW_KEYS
from comfyline.service.access.keys import KEYS_SCOPE, ApiKey
from functions._handlers import at_start
from functions._http import NO_STORE, Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.access.own_keys)


@http_handler(scope=KEYS_SCOPE)
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _list(request: Request, wiring: Wiring) -> Answer:
    """200 with every key of the owner, without secrets."""
    keys = wiring.access.own_keys.list(request.owner)
    return Answer(forms.key_list(keys, wiring.clock()))


def _make(request: Request, wiring: Wiring) -> Answer:
    """201 with a new key, whose secret is shown once."""
    _require_maker(request)
    asked = forms.new_key(request.json())
    _count(request, wiring)
    key, text = wiring.access.own_keys.make(asked, request.sender.key_id)
    made = NewKeyResponse(key=text, view=_view(key, wiring))
    return Answer(made, 201, NO_STORE)


def _end(request: Request, wiring: Wiring) -> Answer:
    """200 with the key, which is disabled."""
    key = wiring.access.own_keys.end(request.key_id, request.sender.key_id)
    return Answer(_view(key, wiring))


def _rotate(request: Request, wiring: Wiring) -> Answer:
    """201 with the new key, whose secret is shown once, and the old one."""
    _require_maker(request)
    overlap = forms.overlap(request.json())
    _count(request, wiring)
    key, old, text = wiring.access.own_keys.rotate(request.key_id, request.sender.key_id, overlap)
    views = (_view(key, wiring), _view(old, wiring))
    return Answer(NewKeyResponse(key=text, view=views[0], replaces=views[1]), 201, NO_STORE)


def _require_maker(request: Request) -> None:
    """Check that the key itself was sent: a script in a page must not make keys that outlive it."""
    request.require_stored_key()


def _count(request: Request, wiring: Wiring) -> None:
    sender = request.sender
    wiring.access.budgets.spend(sender.owner, NEW_KEYS, sender.limits)


def _view(key: ApiKey, wiring: Wiring) -> KeyView:
    maker = wiring.aws.keys.get(key.made_by) if key.made_by else None
    return forms.key_view(key, {maker.id: maker} if maker else {}, wiring.clock())


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    "GET /api/v1/keys": _list,
    "POST /api/v1/keys": _make,
    "DELETE /api/v1/keys/{key_id}": _end,
    "POST /api/v1/keys/{key_id}/rotate": _rotate,
}
