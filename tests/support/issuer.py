"""A real OpenID Connect provider, at which tests sign in: `oidc-provider-mock`, in a process.

It is a process of its own, because its packages warn when they are imported. Its tokens may be
fetched by pages of every origin, as of the providers that pages use.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.support import web

CLIENT = "console"
_PROGRAM = """
import warnings
warnings.simplefilter("ignore")
import oidc_provider_mock
from oidc_provider_mock._app import AuthorizationCodeGrant
from werkzeug.serving import make_server
# This version knows only clients with a secret; a page is a public client.
AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS = ["none"]
app = oidc_provider_mock.app()
@app.after_request
def with_cors(answer):
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Provider:
    """The running provider."""

    url: str

    def knows(self, sub: str, **claims: object) -> None:
        """Give a person these claims."""
        answer = web.put(f"{self.url}/users/{sub}", json={"sub": sub, **claims})
        answer.raise_for_status()

    def id_token(self, sub: str, redirect_uri: str = "http://127.0.0.1:1/console") -> str:
        """Sign in with authorization code and PKCE, as a page does."""
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": "s",
            "nonce": "n",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        with web.Client() as http:
            found = http.get(f"{self.url}/.well-known/openid-configuration").json()
            back = http.post(found["authorization_endpoint"], params=asked, data={"sub": sub})
            (code,) = parse_qs(urlsplit(back.headers["location"]).query)["code"]
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "client_id": CLIENT,
                "code_verifier": verifier,
            }
            answer = http.post(found["token_endpoint"], data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id_token"])


@contextmanager
def a_provider() -> Iterator[Provider]:
    """The provider while the block runs."""
    command = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = re.fullmatch(r"(\d+)\n", process.stdout.readline())
            assert port, "the provider has not started"
            yield Provider(f"http://127.0.0.1:{port[1]}")
        finally:
            process.terminate()
