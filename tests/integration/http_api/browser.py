"""A browser with a cookie jar that signs in at the console, and a key that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.cookies import SimpleCookie

from comfyline.contract.ids import JobId
from comfyline.service.access.keys import ApiKey
from tests.integration.http_api.test_tokens import Person
from tests.support.builders import a_result, an_artifact, running, succeeded
from tests.support.gateway import Gateway, Reply

SESSIONS, TOKEN, LINKS = "/sessions", "/sessions/token", "/sessions/links"
OWN = {"origin": "https://api.example.com"}
MADE = [("POST", SESSIONS), ("POST", TOKEN), ("DELETE", SESSIONS), ("POST", LINKS)]


@dataclass(eq=False)
class Browser:
    """Keeps the cookie, and sends it as the pages of `site` would."""

    gateway: Gateway
    address: str = "https://api.example.com"
    site: str = "https://api.example.com"
    jar: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        scheme, _, host = self.address.partition("://")
        sent = {"host": host, **({"x-forwarded-proto": scheme} if scheme == "https" else {})}
        if method not in ("GET", "HEAD"):
            sent["origin"] = self.site
        if self.jar:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        reply = self.gateway(method, "/api/v1" + path, headers={**sent, **(headers or {})})
        for text in reply.cookies:
            for name, morsel in SimpleCookie(text).items():
                self.jar[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.jar[name]
        return reply

    def sign_in(self, secret: str) -> Reply:
        return self("POST", SESSIONS, {"authorization": f"Bearer {secret}"})

    def bearer(self) -> str:
        reply = self("POST", TOKEN)
        assert reply.status == 201, reply.text
        return str(reply.json["token"])

    def page(self) -> Person:
        """The page with a new bearer in its memory."""
        return Person(self.gateway, self.bearer())


@dataclass(frozen=True)
class Held:
    key: ApiKey
    text: str


def picture_of(who: Person) -> str:
    """The path of the file of a new job."""
    store = who.gateway.aws.jobs
    job = store.get(JobId(who.submitted()))
    assert job is not None
    ran = running(job, now=job.queued_at)
    store.put_result(ran, a_result(an_artifact(ran)))
    ended = store.save(job, replace(succeeded(job, now=job.queued_at), stored=1))
    return f"/jobs/{ended.id}/artifacts/0"
