"""POST /api/v1/ws-tickets"""

from __future__ import annotations

from comfyline.contract.v1 import responses
from comfyline.service.access.budgets import SOCKET_PASSES
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.socket_passes)


@http_handler(scope="jobs:read", for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with a socket pass, which opens one socket."""
    sender, access = request.sender, wiring.access
    access.budgets.spend(sender.principal, SOCKET_PASSES, sender.limits)
    vouched = None if sender.session else sender.vouched(wiring.clock())
    stored, secret = access.create_socket_pass(sender.owner, sender.key_id, sender.token, vouched)
    answer = responses.SocketPassResponse(
        ticket=secret, url=wiring.access.socket_url(secret), expires_at=stored.expires_at
    )
    return Answer(answer, 201)
