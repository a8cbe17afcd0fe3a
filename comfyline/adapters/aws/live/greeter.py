"""Subscribes a socket that is still being opened, by an asynchronous call of a function."""

from __future__ import annotations

import json
from typing import Any

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import ConnectionId


class LambdaGreeter:
    """Calls the function for client messages like the gateway, and adds the mark `greeting`."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    @translated()
    def greet(self, connection_id: ConnectionId, job_id: str) -> None:
        """Start the subscription. The called function checks `job_id` and answers on the socket.

        Raises:
            Unavailable: Lambda has not accepted the call.
        """
        context = {"connectionId": connection_id, "requestId": connection_id, "greeting": True}
        subscription = {"action": "subscribe", "job_id": job_id}
        event = {"requestContext": context, "body": json.dumps(subscription)}
        self._client.invoke(
            FunctionName=self._function,
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )
