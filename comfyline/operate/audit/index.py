"""The index of an audit: what items of different tables say of each other, in a temporary file.

SQLite keeps a bounded part of it in memory and sorts on the disk.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CACHE_MIB = 64
_BATCH = 1_000  # rows that are written together

# Times are microseconds since 1970. The time of its post distinguishes a job from others of its id.
_SCHEMA = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, queued_at INT, owner TEXT, user TEXT, status TEXT,
    is_live INT, finished_at INT, expires_at INT, attempt INT, fingerprint TEXT, has_slot INT,
    is_settled INT, lists_files INT, has_pnginfo INT, stored INT, items_end INT, gpu_seconds REAL,
    has_run INT) WITHOUT ROWID;
CREATE TABLE siblings (job_id TEXT, name TEXT, queued_at INT, ends_at INT, fingerprint TEXT,
    has_graph INT, has_params INT, incarnation INT, attempt INT, listed INT, total INT,
    PRIMARY KEY (job_id, name)) WITHOUT ROWID;
CREATE TABLE listed (job_id TEXT, incarnation INT, attempt INT, key TEXT, bytes INT, sha256 TEXT,
    PRIMARY KEY (key, job_id, incarnation, attempt)) WITHOUT ROWID;
CREATE TABLE needed (upload TEXT, job_id TEXT, PRIMARY KEY (upload, job_id)) WITHOUT ROWID;
CREATE TABLE retries (job_id TEXT PRIMARY KEY, retry_of TEXT, fingerprint TEXT) WITHOUT ROWID;
CREATE TABLE files (key TEXT PRIMARY KEY, bytes INT, stored_at INT, job_id TEXT, incarnation INT,
    attempt INT) WITHOUT ROWID;
CREATE TABLE slots (owner TEXT, job_id TEXT, queued_at INT, part INT,
    PRIMARY KEY (job_id, queued_at, owner)) WITHOUT ROWID;
CREATE TABLE parts (owner TEXT, part INT, n INT, PRIMARY KEY (owner, part)) WITHOUT ROWID;
CREATE TABLE notes (job_id TEXT, queued_at INT, ends_at INT, month TEXT, failure TEXT,
    PRIMARY KEY (job_id, queued_at)) WITHOUT ROWID;
CREATE TABLE months (owner TEXT, row TEXT, month TEXT, gpu_seconds REAL, jobs REAL,
    PRIMARY KEY (owner, month, row)) WITHOUT ROWID;
CREATE TABLE failures (failure TEXT, row TEXT, jobs INT,
    PRIMARY KEY (failure, row)) WITHOUT ROWID;
CREATE TABLE usage (owner TEXT, row TEXT, gpu_seconds REAL, jobs REAL,
    PRIMARY KEY (owner, row)) WITHOUT ROWID;
CREATE TABLE keys (id TEXT PRIMARY KEY, owner TEXT, cap INT, made_by TEXT) WITHOUT ROWID;
CREATE TABLE sockets (id TEXT PRIMARY KEY, owner TEXT, key_id TEXT, ends_at INT) WITHOUT ROWID;
CREATE TABLE follows (socket TEXT, job_id TEXT, PRIMARY KEY (socket, job_id)) WITHOUT ROWID;
CREATE TABLE subscriptions (socket TEXT, job_id TEXT, ends_at INT,
    PRIMARY KEY (socket, job_id)) WITHOUT ROWID;
"""


class Index:
    """A database that is empty at first. A row with the key of an earlier one replaces it."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._waiting: dict[tuple[str, tuple[str, ...]], list[tuple[Any, ...]]] = {}
        for name, value in (
            ("journal_mode", "OFF"),  # the file is thrown away if the audit ends early
            ("synchronous", "OFF"),
            ("cache_size", f"-{CACHE_MIB * 1024}"),
            ("temp_store", "FILE"),
        ):
            self._db.execute(f"PRAGMA {name} = {value}")
        self._db.executescript(_SCHEMA)

    def add(self, table: str, **row: Any) -> None:
        """Add a row."""
        batch = self._waiting.setdefault((table, tuple(row)), [])
        batch.append(tuple(row.values()))
        if len(batch) >= _BATCH:
            self._write(table, tuple(row), batch)

    def rows(self, query: str, values: Mapping[str, Any] | None = None) -> Iterator[sqlite3.Row]:
        """The rows of a query, a few at a time."""
        for (table, names), batch in self._waiting.items():
            self._write(table, names, batch)
        yield from self._db.execute(query, values or {})

    def count(self, table: str) -> int:
        """The number of rows of a table."""
        (row,) = self.rows(f"SELECT count(*) FROM {table}")
        return int(row[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write(self, table: str, names: tuple[str, ...], batch: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * len(names))
        text = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({marks})"
        self._db.execute("BEGIN")
        self._db.executemany(text, batch)
        self._db.execute("COMMIT")
        batch.clear()


@contextmanager
def temporary_index() -> Iterator[Index]:
    """An index that is removed after the block."""
    with tempfile.TemporaryDirectory(prefix="comfyline-audit-") as folder:
        index = Index(Path(folder) / "index.sqlite")
        try:
            yield index
        finally:
            index.close()
