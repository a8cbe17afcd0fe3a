"""GET /healthz: shows that the API answers. It needs no key and makes no call."""

from __future__ import annotations

from comfyline.contract.v1 import responses
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring


@http_handler(scope=None)
def handler(_request: Request, _wiring: Wiring) -> Answer:
    """200."""
    return Answer(responses.Health(status="ok"))
