"""$default of the HTTP API: answers a request that no route matches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from comfyline.service.errors import MethodNotAllowed, RouteNotFound
from comfyline.service.settings import UnknownRouteSettings
from functions._http import Answer, http_handler
from functions._pages import without_slash
from functions._request import Request
from functions._wiring import Wiring


@http_handler(scope=None)
def handler(request: Request, wiring: Wiring) -> Answer:
    """405 where the path has other methods, 308 where it has them without a slash, else 404."""
    path = request.event["rawPath"]
    routes = wiring.aws.settings(UnknownRouteSettings).routes.split(",")
    methods = sorted(_methods_of(path, routes))
    if methods:
        raise MethodNotAllowed(f"{path} accepts only {', '.join(methods)}.", allow=methods)
    if (moved := without_slash(request)) and request.method in _methods_of(
        path.rstrip("/"), routes
    ):
        return moved
    raise RouteNotFound(f"There is no path {path}.")


def _methods_of(path: str, routes: Iterable[str]) -> Iterator[str]:
    for route in routes:
        method, template = route.split(" ", 1)
        pattern = re.sub(r"\\\{[^/]+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            yield method
