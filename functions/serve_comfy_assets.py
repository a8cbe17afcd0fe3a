"""The assets of Comfy API v2: keep files, read them, and remove them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote

from comfyline.api.comfy_v2 import assets as forms
from comfyline.api.comfy_v2.assets import AssetViews
from comfyline.contract.comfy_v2.assets import Asset as AssetView
from comfyline.contract.comfy_v2.common import PREFIX
from comfyline.service.access.budgets import UPLOAD_BYTES, UPLOADS
from comfyline.service.errors import AssetInUse
from functions._comfy import count_bytes, retried
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.uploads))


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _keep(request: Request, wiring: Wiring) -> Answer:
    sent = forms.new_asset(request.body(), request.header("content-type"))
    wiring.access.budgets.spend(request.principal, UPLOADS, request.limits)
    wiring.access.budgets.spend(request.principal, UPLOAD_BYTES, request.limits, len(sent.body))
    asset, is_new = wiring.files.assets.keep(sent, request.principal)
    return Answer(_views(wiring).asset(asset, is_new=is_new), 201 if is_new else 200)


def _from_hash(request: Request, wiring: Wiring) -> Answer:
    asked = forms.from_hash(request.json())
    wiring.access.budgets.spend(request.principal, UPLOADS, request.limits)
    asset, is_new = wiring.files.assets.from_hash(
        asked.hash, asked.file_path, request.principal, count_bytes(request, wiring)
    )
    return Answer(_views(wiring).asset(asset, is_new=is_new), 201 if is_new else 200)


def _has(request: Request, wiring: Wiring) -> Answer:
    """No body either way: it answers HEAD."""
    hash_ = unquote(request.path_parameter("hash") or "")
    return Answer("", 200 if wiring.files.assets.has(hash_, request.principal) else 404)


def _read(request: Request, wiring: Wiring) -> Answer:
    return Answer(retried(lambda: _view(request, wiring), wiring))


def _content(request: Request, wiring: Wiring) -> Answer:
    """302 to a signed URL, which is as secret as the file."""
    view = retried(lambda: _view(request, wiring), wiring)
    return Answer("", 302, {"location": view.url, "cache-control": "private, no-store"})


def _delete(request: Request, wiring: Wiring) -> Answer:
    """204; an output is removed with its job only."""
    id_ = _asset_id(request)
    if wiring.intake.asset_resolver.output(id_, request.principal) is not None:
        raise AssetInUse(f"{id_} is an output of a job. It is removed with the job.")
    wiring.files.assets.delete(id_, request.principal)
    return Answer("", 204)


def _view(request: Request, wiring: Wiring) -> AssetView:
    id_, owner = _asset_id(request), request.principal
    if output := wiring.intake.asset_resolver.output(id_, owner):
        record, artifact = output
        return _views(wiring).output(id_, record.job, artifact)
    return _views(wiring).asset(wiring.files.assets.get(id_, owner))


def _asset_id(request: Request) -> str:
    return request.path_parameter("asset_id") or ""


def _views(wiring: Wiring) -> AssetViews:
    return AssetViews(wiring.aws.uploads, wiring.aws.artifacts, wiring.clock())


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    f"POST {PREFIX}/assets": _keep,
    f"POST {PREFIX}/assets/from-hash": _from_hash,
    f"HEAD {PREFIX}/assets/by-hash/{{hash}}": _has,
    f"GET {PREFIX}/assets/{{asset_id}}": _read,
    f"GET {PREFIX}/assets/{{asset_id}}/content": _content,
    f"DELETE {PREFIX}/assets/{{asset_id}}": _delete,
}
