"""POST /api/v1/tokens"""

from __future__ import annotations

from comfyline.api.v1.tokens import new_token
from comfyline.contract.v1 import responses
from comfyline.service.access.budgets import TOKENS
from functions._handlers import at_start
from functions._http import NO_STORE, Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.tokens)


@http_handler()
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with a token that acts in the name of one user of the caller."""
    request.require_stored_key()
    asked, sender, access = new_token(request.json()), request.sender, wiring.access
    access.budgets.spend(sender.owner, TOKENS, sender.limits)
    token, text = access.create_token(asked, sender.owner, sender.key_id)
    made = responses.TokenResponse(
        token=text,
        user=asked.user or "",
        scopes=sorted(token.scopes),
        max_jobs=token.max_jobs,
        expires_at=token.expires_at,
    )
    return Answer(made, 201, NO_STORE)
