"""Calls the scaler's function without waiting for it."""

from __future__ import annotations

import json
from typing import Any

from comfyline.adapters.aws.errors import translated


class LambdaScaler:
    """The scaler behind an asynchronous Lambda call, which Lambda does not retry."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    @translated()
    def jobs_arrived(self, count: int) -> None:
        """Start a round of the scaler, and pass it the number of new jobs.

        Raises:
            Unavailable: Lambda has not taken the call.
        """
        self._client.invoke(
            FunctionName=self._function,
            InvocationType="Event",
            Payload=json.dumps({"arrived": count}).encode(),
        )
