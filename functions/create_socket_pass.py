"""POST /api/v1/ws-tickets"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.contract.v1 import responses
from functions._http import Answer, Request, http_handler
from functions._wiring import Wiring

logger = Logger(service="create_socket_pass")


@http_handler(logger)
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with leave to open one socket."""
    stored, ticket = wiring.create_ticket(request.owner, request.key_id)
    return Answer(responses.SocketPassResponse(ticket=ticket, expires_at=stored.expires_at), 201)
