"""AWS's clients of the functions: how long they wait, how often they try, how much they keep open.

Each module of AWS is imported where it is used, so that a cold start loads only what the function
uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.config import Config

# Connections that one client keeps open: at least one for each thread that uses the client, because
# every further call would open another connection.
MAX_CONNECTIONS = 64


class Clients:
    """AWS's clients, each made at its first use and kept.

    `make` makes one; by default a session of botocore does. It makes the same clients as boto3,
    which would only add the methods for files, and a tenth to each cold start.
    """

    def __init__(self, make: Callable[..., Any] | None = None) -> None:
        self._make = make
        self.made: dict[tuple[str, str | None], Any] = {}

    def __call__(self, service: str, endpoint: str | None = None) -> Any:
        """The client of a service, such as "dynamodb"; `endpoint` is a URL other than AWS's own."""
        key = service, endpoint
        if key not in self.made:
            self.made[key] = self._client(service, endpoint)
        return self.made[key]

    def _client(self, service: str, endpoint: str | None) -> Any:
        if self._make is None:
            from botocore.session import get_session

            self._make = get_session().create_client
        return self._make(service, config=_config(service, endpoint), endpoint_url=endpoint)


def _config(service: str, endpoint: str | None) -> Config:
    from botocore.config import Config

    # A call that hangs must fail while the caller still waits: 3 tries fit into a function's 15 s.
    config = Config(
        connect_timeout=1,
        read_timeout=3,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=MAX_CONNECTIONS,
    )
    if service == "s3":
        from comfyline.adapters.aws.files.addressing import s3_config

        return config.merge(s3_config(endpoint))
    # A post to a WebSocket is tried once: the use case repeats it, because only the use case knows
    # which messages may be lost.
    sockets = Config(read_timeout=2, retries={"total_max_attempts": 1})
    return config.merge(sockets) if service == "apigatewaymanagementapi" else config
