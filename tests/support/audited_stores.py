"""Where the content of an audited deployment is stored: in memory, or in moto."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from comfyline.adapters.aws.attributes import Item
from comfyline.contract.ids import ConnectionId
from comfyline.operate.audit.source import Source, StoredFile, Table
from comfyline.operate.inventory import Inventory
from tests.support.gateway import Gateway

SOCKET, OTHER_SOCKET = ConnectionId("fox-socket"), ConnectionId("bear-socket")
AGE = timedelta(minutes=20)  # of the clean content

Key = tuple[Table, str, str]
Tables = dict[Table, dict[tuple[str, str], dict[str, Any]]]


class Stored(Protocol):
    """Raw items and files."""

    @property
    def source(self) -> Source: ...

    def get(self, key: Key) -> dict[str, Any] | None: ...
    def put(self, table: Table, item: Item) -> None: ...
    def delete(self, key: Key) -> None: ...
    def put_file(self, key: str, content: bytes) -> None: ...
    def delete_file(self, key: str) -> None: ...


@dataclass
class InMemoryStored:
    """`Stored` and `Source` in dictionaries."""

    tables: Tables
    contents: dict[str, bytes]
    stored_at: datetime
    open_sockets: set[str] = field(default_factory=lambda: {SOCKET, OTHER_SOCKET})
    queued: int = 1
    dead: int = 0
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def source(self) -> Source:
        return self

    def get(self, key: Key) -> dict[str, Any] | None:
        return deepcopy(self.tables[key[0]].get(key[1:]))

    def put(self, table: Table, item: Item) -> None:
        self.tables[table][names_of(item)] = {**item}

    def delete(self, key: Key) -> None:
        self.tables[key[0]].pop(key[1:], None)

    def put_file(self, key: str, content: bytes) -> None:
        self.contents[key] = content

    def delete_file(self, key: str) -> None:
        self.contents.pop(key, None)

    # --- as a source ------------------------------------------------------------------------------

    def items(self, table: Table) -> Iterator[Item]:
        return iter([*self.tables[table].values()])

    def item(self, table: Table, pk: str, sk: str) -> Item | None:
        return self.tables[table].get((pk, sk))

    def query(self, table: Table, pk: str, prefix: str = "") -> Iterator[Item]:
        names = sorted(names for names in self.tables[table] if names[0] == pk)
        return (self.tables[table][n] for n in names if n[1].startswith(prefix))

    def created_at(self, table: Table) -> datetime:
        return self.created

    def files(self) -> Iterator[StoredFile]:
        for key, content in sorted(self.contents.items()):
            yield StoredFile(key, len(content), self.stored_at)

    def sha256(self, key: str) -> str | None:
        content = self.contents.get(key)
        return None if content is None else hashlib.sha256(content).hexdigest()

    def is_open(self, connection_id: ConnectionId) -> bool:
        return connection_id in self.open_sockets

    def tickets(self) -> int:
        return self.queued

    def dead_tickets(self) -> int:
        return self.dead


class _OpenSockets:
    """Says which sockets are open, in the place of API Gateway."""

    def is_open(self, connection_id: ConnectionId) -> bool:
        return connection_id in (SOCKET, OTHER_SOCKET)


class MotoStored:
    """`Stored` in moto."""

    def __init__(self, gateway: Gateway, inventory: Inventory) -> None:
        self._dynamodb = gateway.client("dynamodb")
        self._s3 = gateway.client("s3")
        self.source: Source = replace(inventory, sockets=_OpenSockets())  # type: ignore[arg-type]

    def get(self, key: Key) -> dict[str, Any] | None:
        item: dict[str, Any] | None = self._dynamodb.get_item(
            TableName=key[0].value, Key=_key(key)
        ).get("Item")
        return item

    def put(self, table: Table, item: Item) -> None:
        self._dynamodb.put_item(TableName=table.value, Item=item)

    def delete(self, key: Key) -> None:
        self._dynamodb.delete_item(TableName=key[0].value, Key=_key(key))

    def put_file(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket="files", Key=key, Body=content)

    def delete_file(self, key: str) -> None:
        self._s3.delete_object(Bucket="files", Key=key)

    def items(self) -> Tables:
        """A copy of all items."""
        return {
            table: {names_of(item): {**item} for item in self.source.items(table)}
            for table in Table
        }

    def put_back(self, tables: Tables, contents: Mapping[str, bytes]) -> None:
        """Hold these items, and the files with these keys, and nothing else."""
        mine, stored = self.items(), {file.key for file in self.source.files()}
        for table in Table:
            for names in mine[table].keys() - tables[table].keys():
                self.delete((table, *names))
            for names, item in tables[table].items():
                if mine[table].get(names) != item:
                    self.put(table, item)
        for key in stored - contents.keys():
            self.delete_file(key)
        for key in contents.keys() - stored:
            self.put_file(key, contents[key])

    def in_memory(self) -> InMemoryStored:
        """A copy of everything."""
        files = [file.key for file in self.source.files()]
        bodies = {key: self._s3.get_object(Bucket="files", Key=key)["Body"].read() for key in files}
        return InMemoryStored(deepcopy(self.items()), bodies, datetime.now(UTC) - AGE)


def names_of(item: Item) -> tuple[str, str]:
    """The partition key and the sort key; a table without sort keys has "" there."""
    return item["pk"]["S"], item["sk"]["S"] if "sk" in item else ""


def _key(key: Key) -> dict[str, Any]:
    _, pk, sk = key
    return {"pk": {"S": pk}, **({"sk": {"S": sk}} if sk else {})}
