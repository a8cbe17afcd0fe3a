"""Botocore's session, without the part of its start that takes long and that no function needs."""

from __future__ import annotations

from botocore.loaders import Loader
from botocore.session import Session, get_session

# The services that functions call.
SERVICES = ("apigatewaymanagementapi", "dynamodb", "ecs", "lambda", "s3", "sqs")


class _FewServices(Loader):
    """Finds the files that describe a service; knows SERVICES only.

    Botocore looks through the folders of all its 400 services before it makes the first client, to
    check that the service exists. That takes about 20 ms of CPU.
    """

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
        """SERVICES, each of which has every type of file that a client needs."""
        return list(SERVICES)


def session() -> Session:
    """A session that makes clients for SERVICES."""
    made = get_session()
    made.register_component("data_loader", _FewServices())
    return made
