"""GET /openapi.json and GET /docs: the contract, for programs and for people."""

from __future__ import annotations

import json

from aws_lambda_powertools import Logger

from functions._docs_page import page
from functions._http import Answer, Request, http_handler
from functions._wiring import Wiring

logger = Logger(service="show_docs")

_HTML = {
    "content-type": "text/html; charset=utf-8",
    # The page has no script and fetches nothing; should a text ever slip through, it runs nothing.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "cache-control": "max-age=300",
}


@http_handler(logger, scope=None)
def openapi_handler(_request: Request, wiring: Wiring) -> Answer:
    """200 with the OpenAPI document."""
    return Answer(json.dumps(wiring.document), headers={"cache-control": "max-age=300"})


@http_handler(logger, scope=None)
def page_handler(_request: Request, wiring: Wiring) -> Answer:
    """200 with the same as a page."""
    return Answer(page(wiring.document), headers=_HTML)
