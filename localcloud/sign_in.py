"""A link that signs in at the console once, and the browser that opens it."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping

import httpx

from localcloud.state import CloudFailed, Endpoints

_TIMEOUT_SECONDS = 30.0  # the function of sessions may have a cold start on a busy machine


def console_of(endpoints: Endpoints) -> str:
    """The address of the console."""
    return f"{endpoints.api_url}/console"


def sign_in_link(endpoints: Endpoints) -> str:
    """An address of the console that signs in once, within ten minutes, with the first key.

    The code is in the fragment, which browsers send to no server.

    Raises:
        CloudFailed: the service gave no link.
    """
    url = f"{endpoints.api_url}/api/v1/sessions/links"
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    try:
        answer = httpx.post(url, headers=headers, trust_env=False, timeout=_TIMEOUT_SECONDS)
        code = answer.raise_for_status().json()["code"]
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise CloudFailed(f"The service gave no link to sign in with: {error}") from error
    return f"{console_of(endpoints)}#/sign-in?code={code}"


def opened(link: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Open the link in a browser with windows; False if there is none.

    A browser that runs in the terminal would take it over, so none is started.
    """
    has_windows = sys.platform in ("darwin", "win32") or any(
        environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    )
    try:
        return has_windows and webbrowser.open(link)
    except webbrowser.Error:
        return False
