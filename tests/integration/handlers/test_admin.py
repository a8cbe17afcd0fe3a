"""The functions for operators: who may call them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from infra.declarations import Route
from infra.functions import ROUTES
from tests.support.gateway import Gateway

ADMIN_ROUTES = [route for route in ROUTES if route.path.startswith("/api/v1/admin/")]
TOKEN = {"user": "alice", "token": "ab" * 32, "ends_at": "2100-01-01T00:00:00+00:00"}


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=lambda route: route.key)
@pytest.mark.parametrize(
    ("caller", "status"),
    [
        ({"scopes": "jobs", "key_id": "k"}, 403),
        ({"scopes": "jobs:read", "key_id": "k"}, 403),
        ({"scopes": "", "key_id": "k"}, 403),
        ({"scopes": "admin jobs", "key_id": "k", **TOKEN}, 403),
        ({"invalid_key": "true"}, 401),
    ],
    ids=["jobs", "read", "none", "token", "invalid"],
)
def test_only_keys_with_the_scope_are_let_in(
    gateway: Gateway, route: Route, caller: dict[str, str], status: int
) -> None:
    refused = replace(gateway, caller=caller, made={})(route.method, route.path, {})
    assert (refused.status, json.loads(refused.text)["status"]) == (status, status)
