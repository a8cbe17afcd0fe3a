"""The operations about the keys of an owner. Each needs a key with the scope `keys`."""

from __future__ import annotations

from collections.abc import Mapping

from comfyline.contract.v1 import access, parameters
from comfyline.contract.v1.operation import TAKES_A_BODY, Operation

TAG = "Keys"

NEW_KEY_EXAMPLE = {"name": "web shop", "scopes": ["jobs"], "limits": {"max_active_jobs": 5}}

KEY_OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/api/v1/keys"): Operation(
        "listKeys",
        TAG,
        "List the keys of your owner",
        "Every key, oldest first, also those that operators have made and those that have ended; "
        "without their secrets. The key needs the scope `keys`.",
        {200: access.KeyList},
    ),
    ("POST", "/api/v1/keys"): Operation(
        "createKey",
        TAG,
        "Make a key",
        "A key of the same owner. It has no scope that your key lacks, never the scope `keys`, no "
        "larger limit and no later end, and it stops working when your key does. The answer shows "
        "its secret, which cannot be read again. The key needs the scope `keys`; neither tokens "
        "nor sessions make keys.",
        {201: access.NewKeyResponse},
        (*TAKES_A_BODY, "too_many_keys", "too_many_requests"),
        body={access.NewKeyRequest: NEW_KEY_EXAMPLE},
    ),
    ("DELETE", "/api/v1/keys/{key_id}"): Operation(
        "disableKey",
        TAG,
        "Disable a key for good",
        "It is refused within 30 s, and its WebSockets are closed within about a minute. Its jobs "
        "go on. A key with a scope that yours lacks, or with the scope `keys`, is disabled by an "
        "operator; your key may disable itself, and with it the keys that it has made. The key "
        "needs the scope `keys`.",
        {200: access.KeyView},
        ("key_not_found",),
        (parameters.KEY_ID,),
    ),
    ("POST", "/api/v1/keys/{key_id}/rotate"): Operation(
        "rotateKey",
        TAG,
        "Replace a key by a new one",
        "The new key can do what the old one can. The old one ends later, so that there is time to "
        "exchange it. Disable a key that has leaked instead. The key needs the scope `keys`; "
        "neither tokens nor sessions make keys.",
        {201: access.NewKeyResponse},
        (*TAKES_A_BODY, "key_not_found", "too_many_keys", "too_many_requests"),
        (parameters.KEY_ID,),
        body={access.RotateRequest: {"overlap_seconds": 3600}},
    ),
}
