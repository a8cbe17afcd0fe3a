"""Sends to WebSocket clients through API Gateway's management API."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import ConnectionId
from comfyline.service.errors import ConnectionGone

if TYPE_CHECKING:
    from mypy_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient


def callback_url(api_id: str, stage: str, region: str | None) -> str:
    """The endpoint of the management API of a WebSocket API's stage."""
    emulator = os.environ.get("AWS_ENDPOINT_URL")
    if emulator:  # an emulator serves every API below its own address
        return f"{emulator.rstrip('/')}/_aws/execute-api/{api_id}/{stage}"
    domain = "amazonaws.com.cn" if (region or "").startswith("cn-") else "amazonaws.com"
    return f"https://{api_id}.execute-api.{region}.{domain}/{stage}"


def public_url(url: str, api_id: str, stage: str) -> str:
    """The address at which clients open sockets: `url`, which an emulator replaces by its own."""
    if os.environ.get("AWS_ENDPOINT_URL"):
        return callback_url(api_id, stage, None).replace("http", "ws", 1)
    return url


class ApiGatewaySockets:
    """`Sockets` behind API Gateway. The endpoint of `client` is a `callback_url`."""

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
    def is_open(self, connection_id: ConnectionId) -> bool:
        """Whether the gateway still holds the socket open."""
        try:
            self._client.get_connection(ConnectionId=connection_id)
        except self._client.exceptions.GoneException:
            return False
        return True

    @translated()
    def close(self, connection_id: ConnectionId) -> None:
        """See Sockets."""
        with suppress(self._client.exceptions.GoneException):
            self._client.delete_connection(ConnectionId=connection_id)
