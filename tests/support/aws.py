"""The resources of a deployment, made in moto."""

from __future__ import annotations

from typing import Any

from comfyline.service.queue.lanes import Priority

REGION = "us-east-1"


def _attributes(**types: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": type_} for name, type_ in types.items()]


def _keys(partition: str, *sort: str) -> list[dict[str, str]]:
    ranges = [{"AttributeName": name, "KeyType": "RANGE"} for name in sort]
    return [{"AttributeName": partition, "KeyType": "HASH"}, *ranges]


def _index(name: str, partition: str, *sort: str) -> dict[str, Any]:
    keys = _keys(partition, *sort)
    return {"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": "KEYS_ONLY"}}


def create_jobs_table(client: Any, name: str) -> None:
    """The jobs table, as infra/stacks/data.py declares it."""
    strings = dict.fromkeys(["pk", "sk", "owner", "status", "listed_at", "due_shard"], "S")
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_attributes(**strings, due_at="N"),
        KeySchema=_keys("pk", "sk"),
        GlobalSecondaryIndexes=[
            _index("by_owner", "owner", "status", "listed_at"),
            _index("by_due", "due_shard", "due_at"),
        ],
    )


def create_connections_table(client: Any, name: str) -> None:
    """The connections table, as infra/stacks/data.py declares it."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_attributes(
            **dict.fromkeys(["pk", "sk", "open_shard", "key_id"], "S")
        ),
        KeySchema=_keys("pk", "sk"),
        GlobalSecondaryIndexes=[_index("by_key", "open_shard", "key_id")],
    )


def create_keys_table(client: Any, name: str) -> None:
    """The keys table, as infra/stacks/data.py declares it."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_attributes(pk="S", owner="S", void_shard="S", void_at="N"),
        KeySchema=_keys("pk"),
        GlobalSecondaryIndexes=[
            _index("by_void_at", "void_shard", "void_at"),
            _index("by_owner", "owner"),
        ],
    )


def create_table(client: Any, name: str, *keys: str) -> None:
    """A table of string keys without indexes."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_attributes(**dict.fromkeys(keys, "S")),
        KeySchema=_keys(*keys),
    )


def create_queues(client: Any) -> dict[Priority, str]:
    """The queues of the three lanes; the URL of each."""
    return {p: client.create_queue(QueueName=p.value)["QueueUrl"] for p in Priority}


def create_services(client: Any) -> None:
    """The ECS services of the workers, with a desired count of 0."""
    client.create_cluster(clusterName="comfyline")
    container = {"name": "worker", "image": "worker", "memory": 128}
    client.register_task_definition(family="worker", containerDefinitions=[container])
    for name in ("ondemand", "spot"):
        client.create_service(
            cluster="comfyline", serviceName=name, taskDefinition="worker", desiredCount=0
        )
