"""The way back to a WebSocket client: API Gateway's management API."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from comfyline.aws.errors import translated
from comfyline.domain.errors import ConnectionGone
from comfyline.domain.ids import ConnectionId

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient


class ApiGatewaySockets:
    """`Sockets` behind API Gateway; the client's endpoint is the API's stage."""

    def __init__(self, client: ApiGatewayManagementApiClient) -> None:
        self._client = client

    @translated()
    def post(self, connection_id: ConnectionId, message: bytes) -> None:
        """See Sockets."""
        try:
            self._client.post_to_connection(ConnectionId=connection_id, Data=message)
        except self._client.exceptions.GoneException as error:
            raise ConnectionGone(connection_id) from error

    @translated()
    def close(self, connection_id: ConnectionId) -> None:
        """See Sockets."""
        with suppress(self._client.exceptions.GoneException):
            self._client.delete_connection(ConnectionId=connection_id)
