"""Callers with keys and tokens of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.authenticate import create_key
from tests.integration.http_api.requests import PICTURE
from tests.support.gateway import Gateway, Reply


@dataclass(frozen=True, eq=False)
class Person:
    """A caller with a key or a token, as the authorizers know it."""

    gateway: Gateway
    bearer: str

    def context(self) -> dict[str, str]:
        """What the authorizer hands over."""
        event = {"headers": {"authorization": f"Bearer {self.bearer}"}}
        found: dict[str, str] = self.gateway.call("AuthorizeHttp", event)["context"]
        return found

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return self.ask(method, "/api/v1" + path, body, headers)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """A request of any path."""
        context = self.context()
        gateway = replace(self.gateway, caller=context, owner=context.get("owner", ""))
        return gateway(method, path, body, headers=headers)

    def submitted(self, body: Any = PICTURE, **headers: str) -> str:
        reply = self("POST", "/jobs", body, headers)
        assert reply.status == 202, reply.text
        return str(reply.json["job_id"])

    def token(self, user: str, **asked: Any) -> Person:
        reply = self("POST", "/tokens", {"user": user, **asked})
        assert reply.status == 201, reply.text
        return replace(self, bearer=reply.json["token"])

    def key_id(self) -> KeyId:
        return KeyId(self.context()["key_id"])


def a_person(gateway: Gateway, owner: str, *scopes: str, **known: Any) -> Person:
    """A caller with a new key. `known`: what else the key has, as `create_key` takes it."""
    asked = {"scopes": scopes or ("jobs",), "expires_at": None, **known}
    keys, clock = gateway.aws.keys, gateway.clock
    _, text = create_key(OwnerId(owner), keys=keys, clock=clock, **asked)
    return Person(gateway, text)
