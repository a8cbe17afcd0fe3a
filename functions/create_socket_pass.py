"""POST /api/v1/ws-tickets"""

from __future__ import annotations

from comfyline.contract.v1 import responses
from comfyline.service.access.budgets import SOCKET_PASSES
from functions._http import Answer, Request, http_handler
from functions._wiring import Wiring


@http_handler()
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with a socket pass, which opens one socket."""
    wiring.access.budgets.spend(request.owner, SOCKET_PASSES, request.limits)
    stored, secret = wiring.access.create_socket_pass(request.owner, request.key_id)
    answer = responses.SocketPassResponse(
        ticket=secret, url=wiring.access.socket_url(secret), expires_at=stored.expires_at
    )
    return Answer(answer, 201)
