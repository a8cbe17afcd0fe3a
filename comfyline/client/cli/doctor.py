"""`comfyline doctor`: finds what stands between this machine and the service.

The checks follow the way of a job: settings, network, clock, key, versions, socket, file store.
After the service could not be reached, the others are not made, because they would say the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.text import Text
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from comfyline.client import profiles
from comfyline.client.blocking.client import Comfyline
from comfyline.client.cli.errors import reason_of
from comfyline.client.cli.session import owner_of
from comfyline.client.errors import ComfylineClientError, TransportFailed, Unauthorized
from comfyline.client.screen import plain, say
from comfyline.contract.v1 import responses
from comfyline.contract.v1.common import API_PREFIX

State = Literal["ok", "warning", "wrong"]

API_VERSION = "1"  # that this client speaks
MAX_OFFSET_SECONDS = 60
SOCKET_SECONDS = 10.0
_STYLES: dict[State, str] = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: what was found, and what to do about it."""

    name: str
    state: State
    found: str
    to_do: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether jobs cannot be used until it is mended."""
        return self.state == "wrong"

    def as_json(self) -> dict[str, str]:
        """The check for programs."""
        return asdict(self)


def examine(client: Comfyline) -> list[Check]:
    """Every check, in the order of a job's way."""
    settings, (reach, health) = _settings(client), _reach(client)
    if health is None:
        return [settings, reach]
    steps: tuple[Callable[[Comfyline], Check], ...] = (_key, _version, _socket, _files)
    return [settings, reach, _clock(health), *(step(client) for step in steps)]


def show(console: Console, checks: list[Check]) -> None:
    """Print a line for each check, and below it what to do."""
    for check in checks:
        mark = (f"{check.state:<8}", _STYLES[check.state])
        line = Text.assemble(mark, f"{check.name:<10}", plain(check.found))
        console.print(line, soft_wrap=True)
        if check.to_do:
            say(console, f"        {check.to_do}")


# --- the checks -----------------------------------------------------------------------------------


def _settings(client: Comfyline) -> Check:
    url = _root(client)
    if exposed := list(profiles.open_to_others()):
        to_do = f"chmod 600 {exposed[0]}, and replace the key in it."
        return Check("settings", "warning", f"other users can read {exposed[0]}", to_do)
    if url.startswith("http://") and _host(url) not in ("localhost", "127.0.0.1", "[::1]"):
        to_do = "Use https://, because the key is sent without encryption."
        return Check("settings", "warning", url, to_do)
    return Check("settings", "ok", url)


def _reach(client: Comfyline) -> tuple[Check, httpx.Response | None]:
    began = time.monotonic()
    try:
        response = _read(client, _root(client) + "/healthz")
    except TransportFailed as error:
        return Check("reach", "wrong", str(error), reason_of(error)), None
    if not _is_healthy(response):
        found = f"HTTP {response.status_code}, and not the answer of Comfyline"
        return Check("reach", "wrong", found, "Check COMFYLINE_URL."), None
    took = time.monotonic() - began
    return Check("reach", "ok", f"answered in {took * 1000:.0f} ms"), response


def _is_healthy(response: httpx.Response) -> bool:
    return response.is_success and _object(response).get("status") == "ok"


def _clock(health: httpx.Response) -> Check:
    try:
        theirs = parsedate_to_datetime(health.headers.get("date", ""))
    except ValueError:
        return Check("clock", "ok", "the service did not tell its time")
    theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    ahead = (datetime.now(UTC) - theirs).total_seconds()
    if abs(ahead) <= MAX_OFFSET_SECONDS:
        return Check("clock", "ok", "agrees with the service's")
    side = "ahead of" if ahead > 0 else "behind"
    found = f"this machine is {abs(ahead):.0f} s {side} the service"
    return Check("clock", "warning", found, "Set the clock, for example by NTP.")


def _key(client: Comfyline) -> Check:
    try:
        return Check("key", "ok", f"belongs to {owner_of(client)}")
    except Unauthorized as error:
        to_do = "Ask an operator for a key, then run `comfyline login`."
        return Check("key", "wrong", error.message, to_do)
    except ComfylineClientError as error:
        return Check("key", "wrong", str(error), "It needs the scope `jobs`.")


def _version(client: Comfyline) -> Check:
    own = f"client {version('comfyline')}"
    try:
        information = _object(_read(client, _root(client) + "/openapi.json")).get("info")
    except TransportFailed as error:
        return Check("version", "warning", str(error), reason_of(error))
    found = information.get("version") if isinstance(information, dict) else None
    if found == API_VERSION:
        return Check("version", "ok", f"{own}, API version {found}")
    to_do = f"This client speaks version {API_VERSION}: install the client that fits the service."
    return Check("version", "warning", f"{own}, API version {found or 'unknown'}", to_do)


def _socket(client: Comfyline) -> Check:
    url, headers = client._ws_url, {"Authorization": f"Bearer {client._api.api_key}"}
    if url is None:
        to_do = "Jobs are polled. Run `comfyline login`, or set COMFYLINE_WS_URL."
        return Check("socket", "warning", "its URL is not known", to_do)
    try:
        with connect(url, additional_headers=headers, open_timeout=SOCKET_SECONDS) as socket:
            socket.send(json.dumps({"action": "ping"}))
            answer = socket.recv(timeout=SOCKET_SECONDS)
    except InvalidStatus as error:
        found = f"refused with HTTP {error.response.status_code}"
        return Check("socket", "warning", found, "Check COMFYLINE_WS_URL, and the key.")
    except (OSError, WebSocketException) as error:
        to_do = f"{reason_of(error)} Until then jobs are polled.".replace("_URL", "_WS_URL")
        return Check("socket", "warning", str(error) or type(error).__name__, to_do)
    if "pong" in str(answer):
        return Check("socket", "ok", f"answered at {url}")
    return Check("socket", "warning", "did not answer a ping", "Check COMFYLINE_WS_URL.")


def _files(client: Comfyline) -> Check:
    """Read a byte of the newest file, or knock at the store where there is none yet."""
    try:
        url = _newest_file(client)
        address = url or _upload_url(client)
        response = _read(client, address, {"Range": "bytes=0-0"})
    except TransportFailed as error:
        to_do = f"{reason_of(error)} Files come from another host than answers."
        return Check("files", "wrong", str(error), to_do.replace("COMFYLINE_URL", "the network"))
    except (ComfylineClientError, httpx.InvalidURL) as error:
        return Check("files", "warning", str(error), "Submit a job, and check again.")
    if url is None:
        return Check(
            "files", "ok", f"{_host(address)} can be reached; you have no file to read yet"
        )
    if response.is_success:
        return Check("files", "ok", f"a signed URL at {_host(address)} can be read")
    to_do = "A proxy may change the request. Compare with another network."
    return Check("files", "wrong", f"{_host(address)} answered HTTP {response.status_code}", to_do)


def _newest_file(client: Comfyline) -> str | None:
    for job in next(iter(client.list("succeeded", 5))).jobs:
        result = client.get(job.job_id).result
        if result is not None and result.artifacts:
            return result.artifacts[0].url
    return None


def _upload_url(client: Comfyline) -> str:
    wanted = {"name": "doctor.txt", "content_type": "text/plain", "bytes": 1}
    return client._api.call(responses.UploadAccepted, "POST", "/uploads", body=wanted).url


# --- what they share. The doctor looks inside the client, to find what the client hides. ----------


def _root(client: Comfyline) -> str:
    return client._api.base.removesuffix(API_PREFIX)


def _read(client: Comfyline, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    request = client._api.http.build_request("GET", url, headers=headers)
    return client._api.send(request)


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].partition(":")[0]
    except ValueError:
        return ""


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
