"""GET and HEAD /console: the web console, built from console/ by infra/console.py.

The page's file is small and names the others, whose names contain a hash of their content. Vite
builds all of them into one folder without subfolders.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from comfyline.contract.console_page import ASK_EACH_TIME, COMMON, FOR_A_YEAR, PAGE, page_policy
from comfyline.service.errors import RouteNotFound
from functions._compressed import Compressed
from functions._http import Answer, http_handler
from functions._pages import without_slash
from functions._request import Request
from functions._wiring import Wiring

FOLDER = Path(__file__).with_name("_console")
NOT_BUILT = "This deployment has no console. `make console` builds it, and `make up` serves it."
MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}


@http_handler(scope=None)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the page, or with the file of it that the path names."""
    if moved := without_slash(request):
        return moved
    name = request.path_parameter("file") or PAGE
    if name not in names(FOLDER):  # also every name that would lead out of the folder
        raise RouteNotFound(NOT_BUILT if name == PAGE else f"There is no /console/{name}.")
    policy = _policy(wiring) if name == PAGE else "default-src 'none'"
    return file(FOLDER / name).answer(request, {"content-security-policy": policy, **COMMON})


def _policy(wiring: Wiring) -> str:
    rules = wiring.aws.sign_in_rules
    return page_policy(wiring.page_origins, rules.page_origins if rules else ())


@cache
def names(folder: Path) -> frozenset[str]:
    """The names of the folder's files; none if the console is not built."""
    return frozenset(path.name for path in folder.glob("*") if path.suffix in MEDIA_TYPES)


@cache
def file(path: Path) -> Compressed:
    """The file, compressed when it is asked for: to compress all of them takes most of a second."""
    return Compressed(
        gzip.compress(path.read_bytes()),
        MEDIA_TYPES[path.suffix],
        ASK_EACH_TIME if path.name == PAGE else FOR_A_YEAR,
    )
