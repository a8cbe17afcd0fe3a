"""The contract's documents, and the pages that show them, from functions/_viewer/.

/docs is Swagger UI, /docs/live is made by tools/reference_pages.py, and / says where to go.

The largest file has 1.7 MB, and less than 0.5 MB compressed; Lambda answers with at most 6 MB.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from comfyline.service.errors import RouteNotFound
from functions._compressed import Compressed
from functions._http import Answer, http_handler
from functions._pages import without_slash
from functions._request import Request
from functions._wiring import Wiring

FOLDER = Path(__file__).with_name("_viewer")
PAGES = {"GET /": "welcome.html", "GET /docs": "index.html"}  # by the route
PAGES_BELOW = {"live": "live.html"}  # by the last part of the path
COMFY_DOCUMENT = "comfy.json"  # below /docs
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
# A file that has a version in its name never changes; the others change with the deployment.
FOR_A_YEAR, FOR_MINUTES = "public, max-age=31536000, immutable", "public, max-age=300"
# The page can load files from, and send requests to, its own origin only. Swagger UI's icons are
# data URLs.
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@http_handler(scope=None)
def openapi_handler(request: Request, _wiring: Wiring) -> Answer:
    """200 with the OpenAPI document."""
    return Compressed(_document(), "application/json", FOR_MINUTES).answer(request, SECURITY)


@http_handler(scope=None)
def asyncapi_handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the AsyncAPI document, with the address of this deployment's WebSocket API."""
    content = _live_document(wiring.aws.socket_url)
    return Compressed(content, "application/json", FOR_MINUTES).answer(request, SECURITY)


# The first call loads the contract's models, so that a cold start of page_handler does not.
@cache
def _document() -> bytes:
    from comfyline.contract.v1.openapi import document

    return gzip.compress(json.dumps(document()).encode())


@cache
def _comfy_document() -> bytes:
    from comfyline.contract.comfy_v2.openapi import document

    return gzip.compress(json.dumps(document()).encode())


@cache
def _live_document(address: str) -> bytes:
    from comfyline.contract.v1.asyncapi import document

    return gzip.compress(json.dumps(document(address)).encode())


@http_handler(scope=None)
def page_handler(request: Request, _wiring: Wiring) -> Answer:
    """200 with the page of the route, or with what the path names below it."""
    return without_slash(request) or _wanted(request).answer(request, SECURITY)


def _wanted(request: Request) -> Compressed:
    name = request.path_parameter("file") or ""
    if name == COMFY_DOCUMENT:
        return Compressed(_comfy_document(), "application/json", FOR_MINUTES)
    page = PAGES_BELOW.get(name) if name else PAGES[request.event["routeKey"]]
    if page is not None:
        return Compressed(_page(page), "text/html; charset=utf-8", FOR_MINUTES)
    if name not in _files():  # also every name that would lead out of the folder
        raise RouteNotFound(f"There is no /docs/{name}.")
    return _files()[name]


@cache
def _page(name: str) -> bytes:
    return gzip.compress((FOLDER / name).read_bytes())


@cache
def _files() -> Mapping[str, Compressed]:
    """The scripts and styles of the page; the large ones are stored compressed."""
    found = {}
    for path in FOLDER.iterdir():
        name, content = path.name.removesuffix(".gz"), path.read_bytes()
        media_type = MEDIA_TYPES.get(Path(name).suffix)
        if media_type is not None:
            is_stored = path.suffix == ".gz"
            found[name] = Compressed(
                content if is_stored else gzip.compress(content),
                f"{media_type}; charset=utf-8",
                FOR_A_YEAR if is_stored else FOR_MINUTES,
            )
    return found
