"""Every Lambda function of a deployment, one row each: routes, settings, grants, limits, triggers.

The rows are in rows/, one file for each subject. The stacks are built from them, and the
tests' gateway and smoke runs read them too. A new GET route is a handler in functions/, a row, an
operation with its models in the contract, and a method of the client.

Nothing here imports the CDK, so that tests can read the rows without starting Node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from comfyline.service.settings import BudgetSettings
from infra import grants
from infra.declarations import Function, Route
from infra.grants import Resource
from infra.rows import account, admin, authorizers, background, comfy_v2, http_api, live, sessions


def _with_budget(row: Function) -> Function:
    """The row with what counting its calls needs, if callers need a key for one of its routes."""
    if all(route.is_open for route in row.routes):
        return row
    settings = tuple(dict.fromkeys((*row.settings, BudgetSettings)))
    may_count = any(
        grant.resource is Resource.OWNERS and "dynamodb:UpdateItem" in grant.actions
        for grant in row.grants
    )
    granted = row.grants if may_count else (*row.grants, grants.COUNT_CALLS)
    return replace(row, settings=settings, grants=granted)


_ROWS = tuple(
    _with_budget(row)
    for rows in (authorizers, http_api, account, sessions, admin, comfy_v2, live, background)
    for row in rows.ROWS
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({row.name: row for row in _ROWS})
# Of the HTTP API: each route, and the function behind it.
ROUTES: Mapping[Route, Function] = MappingProxyType(
    {route: row for row in _ROWS for route in row.routes}
)
