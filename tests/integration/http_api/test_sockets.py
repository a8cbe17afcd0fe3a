"""Opening sockets with a socket pass, and closing the sockets of a disabled key."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.memory.live import InMemorySockets
from comfyline.contract.ids import ConnectionId, OwnerId
from comfyline.service.access.authenticate import create_key, disable_key
from comfyline.service.live.sockets import Connection
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway


def test_a_socket_pass_opens_one_socket(gateway: Gateway, clock: FrozenClock) -> None:
    key, _ = create_key(
        OwnerId("fox"), scopes=["jobs"], expires_at=None, keys=gateway.aws.keys, clock=clock
    )
    gateway.caller["key_id"] = key.id
    answer = gateway("POST", "/api/v1/ws-tickets").json
    secret = answer["ticket"]
    assert answer["url"] == f"wss://sockets.example.com/live?ticket={secret}"

    def opened() -> str:
        event = {"queryStringParameters": {"ticket": secret}, "methodArn": "arn"}
        answer = gateway.call("AuthorizeSocket", event)
        effect: str = answer["policyDocument"]["Statement"][0]["Effect"]
        return effect

    assert [opened(), opened()] == ["Allow", "Deny"]
    secret = gateway("POST", "/api/v1/ws-tickets").json["ticket"]
    clock.advance(61)
    assert opened() == "Deny"


def test_the_sweeper_closes_the_sockets_of_a_disabled_key(
    gateway: Gateway, clock: FrozenClock
) -> None:
    sockets = InMemorySockets()
    gateway = gateway.altered(sockets=sockets)
    keys, connections = gateway.aws.keys, gateway.aws.connections
    opened = []
    for name in ("mine", "others"):
        owner = OwnerId(name)
        key, _ = create_key(owner, scopes=["jobs"], expires_at=None, keys=keys, clock=clock)
        end = clock() + timedelta(hours=2)
        opened.append(Connection(ConnectionId(name), owner, key.id, end))
        connections.open(opened[-1])
    assert "SocketClosed" not in gateway.call("SweepJobs", {})
    disable_key(opened[0].key_id, keys=keys, clock=clock)
    assert gateway.call("SweepJobs", {})["SocketClosed"] == 1
    assert [connections.get(one.id) for one in opened] == [None, opened[1]]
    assert sockets.closed == {opened[0].id}
