"""Who may ask a worker what it has measured. The page has no password, so its port is the lock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlsplit

from comfyline.service.settings import WorkerSettings
from infra.context import Context

SCRAPING_DEFAULTS: Mapping[str, Any] = MappingProxyType({"metrics_port": 0, "metrics_from": ""})

# A task shares its host's ports: below these one must be root, above them the kernel takes any for
# what goes out.
LOWEST_PORT, HIGHEST_PORT = 1024, 32767
ENGINE_PORT = urlsplit(WorkerSettings.comfyui_url).port
_GROUP = re.compile(r"sg-[0-9a-f]{8,17}")


@dataclass(frozen=True, slots=True)
class Scraping:
    """A port of each worker, and who reaches it beside what runs on the same instance."""

    port: int  # 0: there is none
    source: str | None  # a security group's id, or a private network

    @property
    def host(self) -> str:
        """The interface that a worker listens on."""
        return "127.0.0.1" if self.source is None else "0.0.0.0"  # noqa: S104 - the group guards it

    @property
    def by_group(self) -> bool:
        """Whether the source is a security group, not a network."""
        return self.source is not None and bool(_GROUP.fullmatch(self.source))

    @classmethod
    def from_context(cls, context: Context) -> Self:
        """What the context describes.

        Raises:
            ValueError: naming the key that is wrong.
        """
        port = context.number("metrics_port", 0, HIGHEST_PORT)
        source = context.optional("metrics_from")
        if 0 < port < LOWEST_PORT or port == ENGINE_PORT:
            raise ValueError(
                f"context key 'metrics_port' is at least {LOWEST_PORT} and not {ENGINE_PORT}"
            )
        if source and not port:
            raise ValueError("context key 'metrics_from' needs 'metrics_port'")
        return cls(port, _source(source) if source else None)


def _source(given: str) -> str:
    if _GROUP.fullmatch(given):
        return given
    try:
        network = IPv4Network(given)
    except ValueError as error:
        raise ValueError(
            f"context key 'metrics_from' is a security group or an IPv4 network: {error}"
        ) from error
    if network.is_global:
        raise ValueError(f"context key 'metrics_from' is no private network: {given!r}")
    return str(network)
