"""GET /api/v1/models"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline import wire
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="list_models")


@http_handler(logger)
def handler(_request: Request) -> Answer:
    """200 with what a request may name."""
    environment = _wiring.environment()
    default, known = environment.default_checkpoint, environment.catalogue
    return Answer(
        wire.Models(
            default_checkpoint=default,
            checkpoints=sorted({default, *known.checkpoints}),
            samplers=list(known.samplers),
            schedulers=list(known.schedulers),
            node_classes=sorted(known.node_classes),
        )
    )
