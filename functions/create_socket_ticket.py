"""POST /api/v1/ws-tickets"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline import wire
from comfyline.settings import CreateSocketTicketSettings
from comfyline.usecases.authenticate import create_ticket
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="create_socket_ticket")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """201 with leave to open one socket."""
    table = _wiring.settings(CreateSocketTicketSettings).connections_table
    stored, ticket = create_ticket(
        request.owner, request.key_id, tickets=_wiring.tickets(table), clock=_wiring.clock
    )
    return Answer(wire.SocketTicketView(ticket=ticket, expires_at=stored.expires_at), 201)
