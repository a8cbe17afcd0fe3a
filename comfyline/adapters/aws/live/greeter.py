"""Speaking to a socket that is just being opened: an asynchronous call of the function that can."""

from __future__ import annotations

import json
from typing import Any

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import ConnectionId


class LambdaGreeter:
    """Calls a function with a message of the client, as the gateway would, marked as a greeting."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    @translated()
    def greet(self, connection_id: ConnectionId, job_id: str) -> None:
        """Have the socket subscribed to `job_id`, whatever that is, and told, once it is open.

        Raises:
            Unavailable: nobody will.
        """
        context = {"connectionId": connection_id, "requestId": connection_id, "greeting": True}
        subscription = {"action": "subscribe", "job_id": job_id}
        event = {"requestContext": context, "body": json.dumps(subscription)}
        self._client.invoke(
            FunctionName=self._function,
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )
