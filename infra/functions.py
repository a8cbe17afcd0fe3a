"""Every Lambda function of a deployment, one row each: routes, settings, grants, limits, triggers.

The rows are in rows/, one file for each room of functions. The stacks are built from them, and the
tests' gateway and smoke runs read them too. A new GET route is a handler in functions/, a row, an
operation with its models in the contract, and a method of the client.

Nothing here imports the CDK, so that tests can read the rows without starting Node.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from infra.declarations import Function, Route
from infra.rows import background, http_api, live

_ROWS = (*http_api.ROWS, *live.ROWS, *background.ROWS)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({row.name: row for row in _ROWS})
# Of the HTTP API: each route, and the function behind it.
ROUTES: Mapping[Route, Function] = MappingProxyType(
    {route: row for row in _ROWS for route in row.routes}
)
