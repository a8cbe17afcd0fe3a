"""GET /api/v1/models"""

from __future__ import annotations

from comfyline.contract.v1 import responses
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.intake.lock)


@http_handler(scope="jobs:read", for_tokens=True)
def handler(_request: Request, wiring: Wiring) -> Answer:
    """200 with the names that a request may use."""
    lock = wiring.intake.lock
    default, known = lock.default_checkpoint, lock.catalogue
    return Answer(
        responses.Models(
            default_checkpoint=default,
            checkpoints=sorted({default, *known.checkpoints}),
            any_checkpoint=not known.checkpoints,
            samplers=list(known.samplers),
            schedulers=list(known.schedulers),
            node_classes=sorted(known.node_classes),
        )
    )
