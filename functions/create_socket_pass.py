"""POST /api/v1/ws-tickets"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.contract.v1 import responses
from comfyline.service.access.authenticate import create_ticket
from comfyline.service.settings import CreateSocketPassSettings
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="create_socket_pass")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """201 with leave to open one socket."""
    table = _wiring.settings(CreateSocketPassSettings).connections_table
    stored, ticket = create_ticket(
        request.owner, request.key_id, tickets=_wiring.socket_passes(table), clock=_wiring.clock
    )
    return Answer(responses.SocketPassResponse(ticket=ticket, expires_at=stored.expires_at), 201)
