"""What workers publish of their engines, in the jobs table: one row for each version.

    pk      sk
    engine  <version of the engine>

The row has no TTL: jobs need it as long as the version is deployed. The functions that read the
table's stream skip these rows.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.jobs.siblings import MAX_BODY_BYTES, unpack
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import canonical_json

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ENGINE = {"S": "engine"}


class DynamoEngineNodesStore:
    """`EngineNodesStore` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def publish(self, version: str, nodes: EngineNodes) -> bool:
        """See EngineNodesStore: one conditional write, and no read."""
        # worker A:  put ──> stored
        # worker B:         put the same ──> refused: nothing to do
        text = canonical_json(nodes.to_json())
        body = zlib.compress(text)
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"{len(body):,} bytes of node classes exceed {MAX_BODY_BYTES:,}")
        digest = {"S": hashlib.sha256(text).hexdigest()}
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**_key(version), "digest": digest, "body": {"B": body}},
                ConditionExpression="attribute_not_exists(digest) OR digest <> :digest",
                ExpressionAttributeValues={":digest": digest},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    @translated()
    def read(self, version: str) -> EngineNodes:
        """See EngineNodesStore: one read, which may be some milliseconds old."""
        item = self._client.get_item(TableName=self._table, Key=_key(version)).get("Item")
        if item is None:
            return EngineNodes()
        return EngineNodes.from_json(unpack(item["body"]["B"]))


def _key(version: str) -> dict[str, Any]:
    return {"pk": ENGINE, "sk": {"S": version}}
