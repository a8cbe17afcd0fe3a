"""GET and HEAD /api/v1/jobs/{job_id}/artifacts/{number}"""

from __future__ import annotations

import re
from typing import Literal

from comfyline.api.v1.results import link_of
from comfyline.contract.v1.results import ArtifactLink
from comfyline.service.errors import ArtifactNotFound
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request, invalid
from functions._wiring import Wiring

# A cache must not hand the URL to another caller, or after its end.
_HEADERS = {"cache-control": "private, no-store", "vary": "Accept"}

at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.artifacts, wiring.aws.keys))


@http_handler(scope="jobs:read", for_tokens=True, reads_cookie=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """302 to a freshly signed URL of the file; 200 with the URL if JSON is asked for.

    A page shows the file with `<img>`, which sends the cookie of its session and no header.
    """
    number, is_inline = _number(request.path_parameter("number")), _is_inline(request)
    as_thumbnail = _wants_thumbnail(request.query("w"))
    artifact = wiring.read_artifact(
        request.job_id, request.principal, number, as_thumbnail=as_thumbnail
    )
    method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
    link = link_of(artifact, wiring.aws.artifacts, wiring.clock(), inline=is_inline, method=method)
    if link is None:
        kind = f"A file of the type {artifact.content_type} is not shown in a page."
        raise invalid(f"{kind} Leave `disposition` out to download it.", "query", "disposition")
    return _answer(link, request)


def _answer(link: ArtifactLink, request: Request) -> Answer:
    accepted = (request.header("accept") or "").lower().split(",")
    if any(part.partition(";")[0].strip() == "application/json" for part in accepted):
        return Answer(link, 200, _HEADERS)
    return Answer("", 302, {**_HEADERS, "content-type": "text/plain", "location": link.url})


def _number(text: str | None) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text or ""):
        raise ArtifactNotFound("A file is named by its number among the job's files, from 0.")
    return int(text or "")


def _is_inline(request: Request) -> bool:
    text = request.query("disposition")
    if text not in (None, "attachment", "inline"):
        raise invalid("disposition must be attachment or inline", "query", "disposition")
    return text == "inline"


def _wants_thumbnail(text: str | None) -> bool:
    if text not in (None, "512"):
        raise invalid("w must be 512, the width of thumbnails", "query", "w")
    return text is not None
