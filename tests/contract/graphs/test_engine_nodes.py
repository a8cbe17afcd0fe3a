"""What every EngineNodesStore does."""

from __future__ import annotations

import secrets

import pytest

from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.published_nodes import EngineNodesStore
from tests.contract.conftest import AwsClient
from tests.support import recordings
from tests.support.aws import create_jobs_table

NODES = EngineNodes.parse(recordings.object_info())
OTHERS = EngineNodes.parse({"Only": {"output_node": True}})


def test_nothing_is_known_before_a_worker_publishes(engine_nodes: EngineNodesStore) -> None:
    assert not engine_nodes.read("v1")


def test_what_is_published_is_read(engine_nodes: EngineNodesStore) -> None:
    assert engine_nodes.publish("v1", NODES)
    assert engine_nodes.read("v1") == NODES


def test_equal_nodes_are_written_once(engine_nodes: EngineNodesStore) -> None:
    engine_nodes.publish("v1", NODES)
    again = EngineNodes.parse(dict(reversed(recordings.object_info().items())))
    assert not engine_nodes.publish("v1", again)
    assert engine_nodes.publish("v1", OTHERS)
    assert engine_nodes.publish("v1", NODES)
    assert engine_nodes.read("v1") == NODES


def test_two_versions_do_not_replace_each_other(engine_nodes: EngineNodesStore) -> None:
    engine_nodes.publish("v1", NODES)
    engine_nodes.publish("v2", OTHERS)
    assert not engine_nodes.publish("v1", NODES)
    assert (engine_nodes.read("v1"), engine_nodes.read("v2")) == (NODES, OTHERS)


def test_nodes_beyond_an_item_are_refused(aws_client: AwsClient) -> None:
    client = aws_client("dynamodb")
    create_jobs_table(client, "jobs")
    store = DynamoEngineNodesStore(client, "jobs")
    names = (secrets.token_hex(40) for _ in range(12_000))
    with pytest.raises(ValueError, match="exceed 408,576"):
        store.publish("v1", EngineNodes.parse({name: {"output_node": True} for name in names}))
    assert not store.read("v1")
