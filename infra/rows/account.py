"""The functions about the caller itself: who it is, what it has used, and its keys."""

from __future__ import annotations

from comfyline.service.settings import KeysTable, OwnersTable, WaitSettings
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
    Function(
        name="ManageKeys",
        routes=(
            Route("GET", "/api/v1/keys"),
            Route("POST", "/api/v1/keys"),
            Route("DELETE", "/api/v1/keys/{key_id}"),
            Route("POST", "/api/v1/keys/{key_id}/rotate"),
        ),
        settings=(KeysTable, WaitSettings),
        grants=(
            may("FindOwnKeys", Resource.KEYS_BY_OWNER, "dynamodb:Query"),
            may("ReadOwnKeys", Resource.KEYS, "dynamodb:GetItem", "dynamodb:BatchGetItem"),
            may("StoreKey", Resource.KEYS, "dynamodb:PutItem"),
            may("RemoveOldKey", Resource.KEYS, "dynamodb:DeleteItem"),
        ),
    ),
)
