"""A smoke run of each function and of the worker that needs every one of its permissions."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from comfyline.domain.events import Progressed, Succeeded
from comfyline.domain.ids import OwnerId, UploadId, derived_job_id, random_job_id
from comfyline.domain.job import Job
from comfyline.domain.lifecycle import advance
from comfyline.domain.progress import Progress
from comfyline.domain.uploads import upload_key
from comfyline.domain.workflow import fingerprint
from comfyline.ports import OWNER_SHARDS, Limits
from tests.e2e.account import Account, now
from tests.support.builders import canceled, running, succeeded
from tests.support.eventually import eventually_now

# Of what should happen at once. A run without a permission waits this long in vain.
SOON = 5.0
# The worker may have to be started again, after crashes that a missing permission caused.
WORKER_SOON = 12.0
PAST = timedelta(hours=2)
ONE_JOB = Limits(max_active_jobs=1)
LOADING = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "none"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
}


@dataclass(frozen=True)
class Caller:
    """A fresh owner with a fresh key, so that no cache answers for a function."""

    account: Account
    owner: OwnerId
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        base = f"{self.account.endpoints.api_url}/api/v1"
        headers = {**self.headers, **request.pop("headers", {})}
        with httpx.Client(trust_env=False, timeout=30) as http:
            return http.request(method, base + path, headers=headers, **request)

    @contextmanager
    def socket(self) -> Iterator[ClientConnection]:
        url = self.account.endpoints.ws_url
        with connect(url, additional_headers=self.headers, proxy=None, close_timeout=1) as one:
            yield one

    def overdue(self, **overrides: Any) -> Job:
        """A job past its start deadline that nobody has ended yet."""
        return self.account.seeded(self.owner, queued_at=now() - PAST, **overrides)

    def ended(self, **overrides: Any) -> Job:
        """A job that has succeeded and made a file."""
        account = self.account
        before = account.seeded(self.owner, **overrides)
        account.stored_artifact(running(before, now=before.queued_at))
        return account.jobs.save(before, succeeded(before, now=before.queued_at))

    def started(self) -> Job:
        """A job that some worker runs, and that holds a slot of its owner."""
        before = self.account.seeded(self.owner, has_slot=True)
        return self.account.jobs.save(before, running(before, now=now()))


def a_caller(account: Account) -> Caller:
    owner = OwnerId("smoke-" + secrets.token_hex(4))
    return Caller(account, owner, account.new_key(owner))


# --- HTTP -----------------------------------------------------------------------------------------


def authorize_http(caller: Caller) -> None:
    assert caller.call("GET", "/jobs").status_code == 200


def submit_job(caller: Caller) -> None:
    posts(caller, "/jobs", {"Prefer": "wait=0"})


def generate(caller: Caller) -> None:
    posts(caller, "/generate", {"Prefer": "wait=0"})


def posts(caller: Caller, path: str, headers: dict[str, str]) -> None:
    """Everything that accepting a job and answering for it may need."""
    body = {"prompt": "smoke", "steps": 1, "width": 64, "height": 64, "priority": "low"}
    before = sent_low(caller)
    made = caller.call("POST", path, json=body, headers=headers)
    assert made.status_code == 202
    eventually_now(lambda: sent_low(caller) > before or ended(caller, made), within=SOON)
    assert_limited(caller, path, body, headers)
    assert_uploads_looked_at(caller, path, headers)
    ended_before(caller, path, body)
    expired_before(caller, path, body, headers)


def sent_low(caller: Caller) -> int:
    """The tickets of the low lane, with those that a worker has."""
    sqs, url = caller.account.emulator.client("sqs"), caller.account.endpoints.outputs
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    answer = sqs.get_queue_attributes(QueueUrl=url["LowQueueUrl"], AttributeNames=list(names))
    return sum(int(answer["Attributes"][name]) for name in names)


def ended(caller: Caller, made: httpx.Response) -> bool:
    view = caller.call("GET", f"/jobs/{made.json()['job_id']}").json()
    return bool(view["status"] == "succeeded")


def assert_limited(
    caller: Caller, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """Taken by one post, refused to the next, and free again since its job has ended."""
    capped = limited(caller)
    old = caller.account.seeded(capped.owner)
    caller.account.owners.take_slot(capped.owner, old.id, ONE_JOB, old.queued_at)
    assert capped.call("POST", path, json=body, headers=headers).status_code == 429
    caller.account.jobs.save(old, canceled(old, now=now()))
    assert capped.call("POST", path, json=body, headers=headers).status_code == 202


def limited(caller: Caller) -> Caller:
    owner = OwnerId("smoke-" + secrets.token_hex(4))
    return Caller(caller.account, owner, caller.account.new_key(owner, ONE_JOB))


def assert_uploads_looked_at(caller: Caller, path: str, headers: dict[str, str]) -> None:
    for upload_id, status in ((uploaded(caller), 202), ("upl_" + "0" * 26, 422)):
        body = {"workflow": LOADING, "inputs": {"1.image": f"upload:{upload_id}"}}
        assert caller.call("POST", path, json=body, headers=headers).status_code == status


def ended_before(caller: Caller, path: str, body: dict[str, Any]) -> None:
    key = secrets.token_hex(8)
    made = caller.ended(id=derived_job_id(caller.owner, key), fingerprint=fingerprint(body))
    headers = {"Idempotency-Key": key, "Prefer": "wait=1"}
    replay = caller.call("POST", path, json=body, headers=headers)
    assert (replay.status_code, replay.json()["job_id"]) == (200, made.id)
    (artifact,) = replay.json()["result"]["artifacts"]
    assert_fetched(artifact["url"])


def expired_before(
    caller: Caller, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    key = secrets.token_hex(8)
    job_id = derived_job_id(caller.owner, key)
    caller.overdue(id=job_id, fingerprint=fingerprint(body))
    replay = caller.call("POST", path, json=body, headers={**headers, "Idempotency-Key": key})
    assert (replay.status_code, replay.json()["status"]) == (200, "expired")


def retry_job(caller: Caller) -> None:
    capped = limited(caller)
    holder = caller.account.seeded(capped.owner)
    caller.account.owners.take_slot(capped.owner, holder.id, ONE_JOB, holder.queued_at)
    path = f"/jobs/{capped.overdue().id}/retry"
    assert capped.call("POST", path).status_code == 429
    caller.account.jobs.save(holder, canceled(holder, now=now()))
    assert capped.call("POST", path).status_code == 202
    retry_with_upload(caller)


def retry_with_upload(caller: Caller) -> None:
    """Whether the file is still there is looked at again."""
    upload_id = uploaded(caller)
    graph = {**LOADING, "2": {"class_type": "NoSuchOutput", "inputs": {"images": ["1", 0]}}}
    body = {"workflow": graph, "inputs": {"1.image": f"upload:{upload_id}"}}
    path = f"/jobs/{caller.call('POST', '/jobs', json=body).json()['job_id']}"
    caller.call("DELETE", path)
    over = ("failed", "canceled")
    eventually_now(lambda: caller.call("GET", path).json()["status"] in over, within=WORKER_SOON)
    first = caller.call("POST", f"{path}/retry", headers={"Idempotency-Key": "1"})
    assert first.status_code == 202
    bucket = caller.account.endpoints.outputs["ArtifactsBucket"]
    s3 = caller.account.emulator.client("s3")
    s3.delete_object(Bucket=bucket, Key=upload_key(caller.owner, UploadId(upload_id)))
    second = caller.call("POST", f"{path}/retry", headers={"Idempotency-Key": "2"})
    assert second.status_code == 422


def list_events(caller: Caller) -> None:
    answer = caller.call("GET", f"/jobs/{caller.overdue().id}/events")
    assert answer.json()["events"][-1]["event"] == "expired"


def create_upload(caller: Caller) -> None:
    uploaded(caller)


def uploaded(caller: Caller) -> str:
    """The id of a picture that was sent with the form of the API."""
    body = picture()
    asked = {"name": "a.png", "content_type": "image/png", "bytes": len(body)}
    form = caller.call("POST", "/uploads", json=asked).json()
    sent = httpx.post(
        form["url"], data=form["fields"], files={"file": ("a.png", body)}, trust_env=False
    )
    assert sent.is_success, sent.text
    return str(form["upload_id"])


def picture() -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(body, "PNG")
    return body.getvalue()


def create_socket_ticket(caller: Caller) -> None:
    answer = caller.call("POST", "/ws-tickets")
    assert answer.status_code == 201


def socket_by_ticket(caller: Caller) -> None:
    """A client without a header, as a browser is; and one with its key."""
    ticket = caller.call("POST", "/ws-tickets").json()["ticket"]
    url = f"{caller.account.endpoints.ws_url}?ticket={ticket}"
    with connect(url, proxy=None, close_timeout=1) as socket:
        socket.send(json.dumps({"action": "ping"}))
        heard(socket, "pong")
    socket_connects(caller)


def get_usage(caller: Caller) -> None:
    caller.account.owners.add_usage(caller.owner, random_job_id(now()), 1.5, now())
    assert caller.call("GET", "/usage").json()["gpu_seconds"] == 1.5


def get_job(caller: Caller) -> None:
    overdue = caller.call("GET", f"/jobs/{caller.overdue().id}")
    assert overdue.json()["status"] == "expired"
    waiting = caller.call("GET", f"/jobs/{caller.account.seeded(caller.owner).id}")
    assert waiting.json()["queue_position"] >= 1
    ended = caller.call("GET", f"/jobs/{caller.ended().id}")
    (artifact,) = ended.json()["result"]["artifacts"]
    assert_fetched(artifact["url"])


def list_jobs(caller: Caller) -> None:
    job = caller.overdue()
    (listed,) = caller.call("GET", "/jobs").json()["jobs"]
    assert (listed["job_id"], listed["status"]) == (job.id, "expired")


def cancel_job(caller: Caller) -> None:
    job = caller.account.seeded(caller.owner)
    assert caller.call("DELETE", f"/jobs/{job.id}").json()["status"] == "canceled"
    made = caller.ended()
    assert caller.call("DELETE", f"/jobs/{made.id}?purge=true").status_code == 202
    assert caller.account.items("JobsTable", {"S": made.id}) == []
    assert caller.account.files(made) == 0


def assert_fetched(url: str) -> None:
    assert httpx.get(url, trust_env=False).content == b"made"


# --- sockets --------------------------------------------------------------------------------------


def heard(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of that kind."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=SOON))
        if message["type"] == kind:
            return message


def say(socket: ClientConnection, action: str, job: Job) -> None:
    socket.send(json.dumps({"action": action, "job_id": job.id}))


def followers(caller: Caller, job: Job) -> int:
    return len(caller.account.items("ConnectionsTable", {"S": f"job#{job.id}"}))


def socket_connects(caller: Caller) -> None:
    with caller.socket() as socket:
        socket.send(json.dumps({"action": "ping"}))
        heard(socket, "pong")


def socket_disconnect(caller: Caller) -> None:
    job = caller.started()
    with caller.socket() as socket:
        say(socket, "subscribe", job)
        heard(socket, "status")
        (follower,) = caller.account.items("ConnectionsTable", {"S": f"job#{job.id}"})
    connection = follower["sk"]
    eventually_now(lambda: not caller.account.items("ConnectionsTable", connection), within=SOON)


def socket_subscribe(caller: Caller) -> None:
    job = caller.started()
    with caller.socket() as socket:
        say(socket, "subscribe", job)
        assert heard(socket, "status")["status"] == "running"
        assert caller.account.jobs.get(job.id).watched_until is not None  # type: ignore[union-attr]
        assert followers(caller, job) == 1
        say(socket, "unsubscribe", job)
        eventually_now(lambda: followers(caller, job) == 0, within=SOON)
        say(socket, "subscribe", caller.ended())
        assert_fetched(heard(socket, "artifact")["url"])
        heard(socket, "done")


def push_updates(caller: Caller) -> None:
    jobs, job = caller.account.jobs, caller.started()
    with caller.socket() as socket:
        say(socket, "subscribe", job)
        heard(socket, "status")
        watched = jobs.get(job.id)
        assert watched is not None
        half = Progressed(attempt=1, progress=Progress(fraction=0.5))
        moved = jobs.save(watched, advance(watched, half, now()))
        assert heard(socket, "progress")["progress"] == 0.5
        caller.account.stored_artifact(moved)
        caller.account.owners.take_slot(job.owner, job.id, ONE_JOB, job.queued_at)
        jobs.save(moved, advance(moved, Succeeded(attempt=1, gpu_seconds=1.5), now()))
        assert_fetched(heard(socket, "artifact")["url"])
        heard(socket, "done")
        assert caller.account.owners.usage(job.owner).gpu_seconds == 1.5
        shards = range(OWNER_SHARDS)
        taken = {owner for shard in shards for owner, _ in caller.account.owners.slots(shard)}
        assert job.owner not in taken
        eventually_now(lambda: followers(caller, job) == 0, within=SOON)


# --- the clock and the worker ---------------------------------------------------------------------


def sweep_jobs(caller: Caller) -> None:
    account = caller.account
    ended = caller.ended(queued_at=now() - 2 * PAST)
    account.jobs.save(ended, replace(ended, expires_at=now() - PAST, due_at=now() - PAST))
    lost = account.seeded(caller.owner, due_at=now() - PAST)
    account.owners.take_slot(caller.owner, random_job_id(now()), ONE_JOB, now() - PAST)
    answer = account.emulator.client("lambda").invoke(FunctionName=sweeper_name(account))
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert account.items("JobsTable", {"S": ended.id}) == []
    assert account.files(ended) == 0
    found = account.jobs.get(lost.id)
    assert found is not None
    # A worker that has claimed it by now began the count anew.
    assert found.ticket_sends == 1 or found.attempt > 0
    taken = {owner for shard in range(OWNER_SHARDS) for owner, _ in account.owners.slots(shard)}
    assert caller.owner not in taken


def sweeper_name(account: Account) -> str:
    pages = (
        account.emulator.client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName="comfyline-dev-api")
    )
    return next(
        str(r["PhysicalResourceId"])
        for page in pages
        for r in page["StackResourceSummaries"]
        if r["ResourceType"] == "AWS::Lambda::Function"
        and r["LogicalResourceId"].startswith("SweepJobs")
    )


def worker(caller: Caller) -> None:
    # A poll that is open already may still bring each worker one ticket, but not one more.
    for _ in range(len(caller.account.endpoints.pids.workers) + 1):
        worker_runs_a_job(caller)


def worker_runs_a_job(caller: Caller) -> None:
    inputs = {"1.image": f"upload:{uploaded(caller)}"}
    answer = caller.call("POST", "/jobs", json={"workflow": LOADING, "inputs": inputs})
    path = f"/jobs/{answer.json()['job_id']}"
    try:
        eventually_now(
            lambda: caller.call("GET", path).json()["status"] == "succeeded",
            within=WORKER_SOON,
            every=0.2,
        )
        (artifact,) = caller.call("GET", path).json()["result"]["artifacts"]
        assert httpx.get(artifact["url"], trust_env=False).is_success
    finally:
        caller.call("DELETE", path)


SMOKES: dict[str, Callable[[Caller], None]] = {
    "AuthorizeHttp": authorize_http,
    "AuthorizeSocket": socket_by_ticket,
    "SubmitJob": submit_job,
    "Generate": generate,
    "RetryJob": retry_job,
    "ListEvents": list_events,
    "CreateUpload": create_upload,
    "CreateSocketTicket": create_socket_ticket,
    "GetUsage": get_usage,
    "GetJob": get_job,
    "ListJobs": list_jobs,
    "CancelJob": cancel_job,
    "SocketConnect": socket_connects,
    "SocketDisconnect": socket_disconnect,
    "SocketSubscribe": socket_subscribe,
    "PushUpdates": push_updates,
    "SweepJobs": sweep_jobs,
    "Worker": worker,
}
