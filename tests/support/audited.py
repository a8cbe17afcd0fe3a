"""A deployment that an audit reads: raw items and files that a test can change and put back.

The same body runs on moto and in memory. The clean content is written by the real stores.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from comfyline.adapters.aws.access.budgets import DynamoBudgetStore
from comfyline.adapters.aws.access.keys import DynamoKeyStore
from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
from comfyline.adapters.aws.access.sessions import DynamoSessionStore
from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.access.socket_passes import DynamoSocketPassStore
from comfyline.adapters.aws.attributes import Item
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.aws.fleet.presence import DynamoPresenceStore
from comfyline.adapters.aws.graphs import DynamoEngineNodesStore
from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.adapters.aws.live.connections import DynamoConnectionStore
from comfyline.contract.ids import (
    JobId,
    KeyId,
    OwnerId,
    random_upload_id,
    random_worker_id,
)
from comfyline.operate.audit.check import audit
from comfyline.operate.audit.findings import Report
from comfyline.operate.audit.source import Table, Terms
from comfyline.service.access.budgets import REQUESTS
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.sessions import Session
from comfyline.service.access.slots import Limits, Slot
from comfyline.service.access.socket_passes import SocketPass
from comfyline.service.files.uploads import upload_key
from comfyline.service.fleet.workers import Presence
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph, fingerprint
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import thumbnail_key
from comfyline.service.jobs.job import Job, JobError, JobOptions
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.live.sockets import Connection
from tests.support.audited_stores import (
    AGE,
    OTHER_SOCKET,
    SOCKET,
    Key,
    MotoStored,
    Stored,
    names_of,
)
from tests.support.builders import (
    a_graph,
    a_job,
    a_result,
    an_artifact,
    claimed,
    running,
    settled,
    some_params,
    succeeded,
)
from tests.support.gateway import Gateway

FOX, BEAR = OwnerId("fox"), OwnerId("bear")
FOX_KEY, BEAR_KEY = KeyId("0" * 15 + "1"), KeyId("0" * 15 + "2")
PASS, SESSION = "ab" * 32, "cd" * 32
MANY = 103  # artifacts of one job: more than one item lists
_PNG, _MADE = b"an upload", b"made"

# --- the deployment of a test ---------------------------------------------------------------------


@dataclass
class Jobs:
    """The jobs of the clean deployment."""

    succeeded: Job
    failed: Job
    canceled: Job
    many: Job  # succeeded with MANY artifacts
    running: Job
    claimed: Job
    queued: Job
    retry: Job
    of_bear: Job  # succeeded
    upload: str


@dataclass
class Deployed:
    """A deployment that a test changes. `restore` puts everything back."""

    stored: Stored
    jobs: Jobs
    now: datetime
    _before: dict[Key, dict[str, Any] | None] = field(default_factory=dict)
    _files: dict[str, bytes] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)

    def audit(self, *, with_bytes: bool = False) -> Report:
        """The report of an audit without grace."""
        terms = Terms(
            clock=lambda: datetime.now(UTC), began_at=datetime.now(UTC), grace=timedelta(0)
        )
        return audit(self.stored.source, terms, with_bytes=with_bytes)

    def item(self, table: Table, pk: str, sk: str = "") -> dict[str, Any]:
        """An item that exists."""
        item = self.stored.get((table, pk, sk))
        assert item is not None, (table, pk, sk)
        return item

    def put(self, table: Table, item: Item) -> None:
        """Put an item."""
        self._remember((table, *names_of(item)))
        self.stored.put(table, item)

    def set(self, table: Table, pk: str, sk: str, **attributes: Any) -> None:
        """Replace attributes of an item; None removes one."""
        item = self.item(table, pk, sk) | attributes
        self.put(table, {name: value for name, value in item.items() if value is not None})

    def set_row(self, job: Job, **attributes: Any) -> None:
        """Replace attributes of a job's row."""
        self.set(Table.JOBS, job.id, "job", **attributes)

    def save(self, job: Job) -> None:
        """Put the row of a job, as the codec writes it."""
        self.put(Table.JOBS, {**codec.item_of(job), "sk": {"S": "job"}})

    def delete(self, table: Table, pk: str, sk: str = "") -> None:
        """Delete an item that exists."""
        self.item(table, pk, sk)
        self._remember((table, pk, sk))
        self.stored.delete((table, pk, sk))

    def put_file(self, key: str, content: bytes) -> None:
        """Put a file."""
        self._files.setdefault(key, self.contents.get(key, b""))
        self.stored.put_file(key, content)

    def delete_file(self, key: str) -> None:
        """Delete a file that exists."""
        self._files[key] = self.contents[key]
        self.stored.delete_file(key)

    def names(self, table: Table, pk: str) -> list[str]:
        """The sort keys of a partition."""
        return sorted(item["sk"]["S"] for item in self.stored.source.query(table, pk))

    def restore(self) -> None:
        """Put everything back that this test has changed."""
        for key, item in self._before.items():
            if item is None:
                self.stored.delete(key)
            else:
                self.stored.put(key[0], item)
        for name, content in self._files.items():
            if name in self.contents:
                self.stored.put_file(name, content)
            else:
                self.stored.delete_file(name)
        self._before.clear()
        self._files.clear()

    @contextmanager
    def rebuilt(self) -> Iterator[None]:
        """Put the whole content back after the block, in which other code changes it."""
        assert isinstance(self.stored, MotoStored)
        before = self.stored.items()
        try:
            yield
        finally:
            self._before.clear()
            self._files.clear()
            self.stored.put_back(before, self.contents)

    def _remember(self, key: Key) -> None:
        if key not in self._before:
            self._before[key] = self.stored.get(key)


class Builder:
    """Writes the clean content with the real stores."""

    def __init__(self, gateway: Gateway, now: datetime) -> None:
        client = gateway.client("dynamodb")
        self.now, self.gateway = now, gateway
        self.jobs, self.owners = DynamoJobStore(client, "jobs"), DynamoOwnerStore(client, "owners")
        self.ledger = DynamoLedger(client, "owners")
        self.files = S3ArtifactStore(gateway.client("s3"), "files")
        self.client = client

    def build(self) -> Jobs:
        """Fill the deployment."""
        self._keys()
        upload = random_upload_id(self.now)
        key = upload_key(FOX, upload)
        self.gateway.client("s3").put_object(Bucket="files", Key=key, Body=_PNG)
        failed = self._failed()
        made = Jobs(
            succeeded=self._succeeded(FOX, 1),
            failed=failed,
            canceled=self._canceled(),
            many=self._succeeded(FOX, MANY),
            running=self._running(),
            claimed=self._claimed(),
            queued=self._queued(upload),
            retry=self._retry(failed),
            of_bear=self._succeeded(BEAR, 1),
            upload=upload,
        )
        self._live(made)
        return made

    def _keys(self) -> None:
        keys = DynamoKeyStore(self.client, "keys")
        for key_id, owner, cap in ((FOX_KEY, FOX, 60), (BEAR_KEY, BEAR, None)):
            keys.put(
                ApiKey(
                    id=key_id,
                    secret_sha256="0" * 64,
                    owner=owner,
                    scopes=frozenset({"jobs"}),
                    created_at=self.now - timedelta(days=1),
                    limits=Limits(cap, 100 if cap else None),
                )
            )
        keys.switch({"jobs_enabled": True}, self.now)

    def _new(
        self, owner: OwnerId, graph: Graph | None = None, retry_of: Job | None = None, **more: Any
    ) -> Job:
        if retry_of is not None:
            more["fingerprint"] = fingerprint({"retry_of": retry_of.id})
        job = a_job(queued_at=self.now, owner=owner, has_slot=owner == FOX, **more)
        if job.has_slot:
            limits = Limits(60, 100)
            slot = Slot(job.id, job.queued_at)
            assert self.owners.take_slot(owner, slot, limits, self.now) is None
        params = replace(some_params(), retry_of=retry_of.id if retry_of else None)
        info = {"workflow": {}} if job.options.has_pnginfo else None
        self.jobs.put_request(job, params, graph or a_graph(), info)
        assert self.jobs.add(job) is None
        return job

    def _ended(self, job: Job, ended: Job) -> Job:
        stored = self.jobs.save(job, ended)
        if job.has_slot:
            self.owners.free_slot(job.owner, Slot(job.id, job.queued_at))
        self.ledger.count([stored])
        return self.jobs.save(stored, settled(stored, now=self.now))

    def _succeeded(self, owner: OwnerId, files: int) -> Job:
        job = self._new(owner)
        ended = succeeded(job, now=self.now)
        artifacts = []
        for n in range(files):
            content = _MADE + str(n).encode()
            made = replace(
                an_artifact(ended, n),
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            self.files.put(made.key, io.BytesIO(content), made.content_type)
            artifacts.append(made)
        self.jobs.put_result(ended, a_result(*artifacts))
        shown = self._ended(job, ended)
        self.files.put(thumbnail_key(shown, 0), io.BytesIO(b"RIFF"), "image/webp")
        self.jobs.put_thumbnails(shown, (0,))
        return shown

    def _failed(self) -> Job:
        job = self._new(FOX)
        error = JobError(type="boom", message="it broke")
        event = ev.FailedForGood(attempt=1, error=error, gpu_seconds=2.0)
        return self._ended(job, advance(running(job, now=self.now), event, self.now))

    def _canceled(self) -> Job:
        job = self._new(FOX)
        return self._ended(job, advance(job, ev.Canceled(), self.now))

    def _running(self) -> Job:
        job = self._new(FOX)
        # Started lately and alive: the lease is not over while the tests run.
        late = self.now + AGE - timedelta(seconds=5)
        lease = timedelta(minutes=3)
        held = advance(claimed(job, now=late, lease=lease), ev.Started(attempt=1), late)
        return self.jobs.save(job, replace(held, due_at=late + lease))

    def _claimed(self) -> Job:
        job = self._new(FOX)
        late = self.now + AGE - timedelta(seconds=5)
        lease = timedelta(minutes=3)
        return self.jobs.save(
            job, replace(claimed(job, now=late, lease=lease), due_at=late + lease)
        )

    def _queued(self, upload: str) -> Job:
        graph = {
            **a_graph(),
            "90": {"class_type": "LoadImage", "inputs": {"image": f"upload:{upload}"}},
        }
        job = self._new(FOX, graph, options=JobOptions(has_pnginfo=True))
        return self._waits(job)

    def _retry(self, failed: Job) -> Job:
        return self._waits(self._new(FOX, retry_of=failed))

    def _waits(self, job: Job) -> Job:
        """The sweeper has found the job waiting a few times."""
        due = self.now + AGE + timedelta(minutes=30)
        return self.jobs.save(job, replace(job, ticket_sends=4, due_at=due))

    def _live(self, made: Jobs) -> None:
        sockets = DynamoConnectionStore(self.client, "connections")
        end = self.now + timedelta(hours=2)
        for socket_id, owner, key_id, job in (
            (SOCKET, FOX, FOX_KEY, made.running),
            (OTHER_SOCKET, BEAR, BEAR_KEY, made.of_bear),
        ):
            socket = Connection(socket_id, owner, key_id, end)
            sockets.open(socket)
            sockets.subscribe(socket, job.id, since=self.now, limit=9)
        passes = DynamoSocketPassStore(self.client, "connections")
        late = self.now + AGE
        passes.put(SocketPass(PASS, FOX, FOX_KEY, late + timedelta(seconds=30)))
        links = DynamoSocketPassStore(self.client, "connections", "link")
        links.put(SocketPass(PASS, FOX, FOX_KEY, late + timedelta(minutes=9)))
        session = Session(
            sha256=SESSION,
            owner=FOX,
            key_id=FOX_KEY,
            created_at=late,
            expires_at=late + timedelta(hours=12),
        )
        DynamoSessionStore(self.client, "connections").put(session)
        reports = DynamoPresenceStore(self.client, "jobs")
        reports.put(Presence(random_worker_id(), 1, late + timedelta(seconds=60), held_jobs=2))
        reports.want(frozenset({"worker:1"}))
        nodes = EngineNodes.parse({"SaveImage": {"output_node": True}})
        DynamoEngineNodesStore(self.client, "jobs").publish("v1", nodes)
        places = DynamoSemaphore(self.client, "owners", "waits")
        assert places.enter(3, now=late, until=late + timedelta(minutes=10))
        budgets = DynamoBudgetStore(self.client, "owners")
        assert budgets.spend(FOX, REQUESTS, 9, 99, late)
        queue = self.gateway.aws.queue
        queue.send(JobId(made.queued.id), FOX, made.queued.priority)
