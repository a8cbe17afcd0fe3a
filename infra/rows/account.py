"""The functions about the caller itself: who it is and what it has used."""

from __future__ import annotations

from comfyline.service.settings import OwnersTable
from infra.declarations import Function, Route
from infra.grants import Resource, may

ROWS = (
    Function(
        name="ReadAccount",
        routes=(Route("GET", "/api/v1/me"), Route("GET", "/api/v1/usage")),
        settings=(OwnersTable,),
        # The sums of ended jobs, and the counters of slots.
        grants=(may("ReadAccount", Resource.OWNERS, "dynamodb:Query"),),
    ),
)
