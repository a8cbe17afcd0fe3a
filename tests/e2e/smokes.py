"""A smoke run for each function and for the worker. Each needs every permission of its role."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from websockets.sync.client import ClientConnection

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.attributes import time_of
from comfyline.adapters.aws.batches import put_items
from comfyline.adapters.aws.files.models import S3ModelStore
from comfyline.adapters.aws.live.relay import event_of
from comfyline.contract.ids import ConnectionId, KeyId, OwnerId, random_job_id
from comfyline.service.access.budgets import MESSAGES, UNCOUNTED_SHARE
from comfyline.service.access.slots import OWNER_SHARDS, Slot
from comfyline.service.intake.admit import SLOT_GRACE, slot_of
from comfyline.service.jobs.events import Progressed, Succeeded
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from comfyline.service.live.broadcast import AUDIENCE, Chunk
from comfyline.service.live.delivery import Post
from comfyline.service.live.sockets import Connection
from tests.e2e import fleet
from tests.e2e import smokes_admin as admin
from tests.e2e import smokes_comfy as comfy
from tests.e2e import smokes_http as http
from tests.e2e.account import now
from tests.e2e.caller import ONE_JOB, PAST, Caller, assert_fetched
from tests.support import web

PUT_AT_ONCE = 25  # a limit of AWS

# --- sockets --------------------------------------------------------------------------------------


def send(socket: ClientConnection, action: str, job: Job) -> None:
    socket.send(json.dumps({"action": action, "job_id": job.id}))


def subscribers(caller: Caller, job: Job) -> int:
    return len(caller.account.items("ConnectionsTable", {"S": f"job#{job.id}"}))


def socket_connects(caller: Caller) -> None:
    with caller.socket() as socket:
        socket.send(json.dumps({"action": "ping"}))
        caller.received(socket, "pong")


def socket_connect(caller: Caller) -> None:
    with caller.socket(f"?job_id={caller.started().id}") as socket:
        assert caller.received(socket, "status")["status"] == "running"


def socket_disconnect(caller: Caller) -> None:
    job = caller.started()
    with caller.socket() as socket:
        send(socket, "subscribe", job)
        caller.received(socket, "status")
        (subscription,) = caller.account.items("ConnectionsTable", {"S": f"job#{job.id}"})
    connection = subscription["sk"]
    caller.eventually(lambda: not caller.account.items("ConnectionsTable", connection))


def socket_subscribe(caller: Caller) -> None:
    job = caller.started()
    with caller.socket() as socket:
        send(socket, "subscribe", job)
        assert caller.received(socket, "status")["status"] == "running"
        assert caller.account.jobs.get(job.id).watched_until is not None  # type: ignore[union-attr]
        assert subscribers(caller, job) == 1
        send(socket, "unsubscribe", job)
        caller.eventually(lambda: subscribers(caller, job) == 0)
        send(socket, "subscribe", caller.ended())
        assert_fetched(caller.received(socket, "artifact")["url"])
        caller.received(socket, "done")
        socket.send(json.dumps({"action": "subscribe", "jobs": "mine"}))
        assert caller.received(socket, "subscribed")["jobs"] == "mine"
        count_messages(caller, socket)


def count_messages(caller: Caller, socket: ClientConnection) -> None:
    """Send a hundredth of a budget, which is counted in the table then."""
    for _ in range(MESSAGES.limit // UNCOUNTED_SHARE):
        socket.send(json.dumps({"action": "ping"}))
        caller.received(socket, "pong")


def push_updates(caller: Caller) -> None:
    jobs, job = caller.account.jobs, caller.started()
    with caller.socket() as socket:
        send(socket, "subscribe", job)
        caller.received(socket, "status")
        (subscription,) = caller.account.items("ConnectionsTable", {"S": f"job#{job.id}"})
        gone = a_gone_subscriber(caller, job, KeyId(caller.key.split("_")[1]))
        watched = jobs.get(job.id)
        assert watched is not None
        half = Progressed(attempt=1, progress=Progress(fraction=0.5))
        moved = jobs.save(watched, advance(watched, half, now()))
        assert caller.received(socket, "progress")["progress"] == 0.5
        caller.account.stored_artifact(moved)
        jobs.save(moved, advance(moved, Succeeded(attempt=1, gpu_seconds=1.5), now()))
        assert_fetched(caller.received(socket, "artifact")["url"])
        caller.received(socket, "done")
        caller.eventually(lambda: subscribers(caller, job) == 0)
        (row,) = caller.account.items("ConnectionsTable", subscription["sk"])
        assert "jobs" not in row
        assert caller.account.connections.get(gone) is None
    push_to_many(caller)


def push_to_many(caller: Caller) -> None:
    """So many subscribers that other functions post to them."""
    account, job, key = caller.account, caller.started(), KeyId(caller.key.split("_")[1])
    with caller.socket() as socket:
        send(socket, "subscribe", job)
        caller.received(socket, "status")
        gone = a_gone_subscriber(caller, job, key)
        add_young_subscribers(caller, job, AUDIENCE)
        watched = account.jobs.get(job.id)
        assert watched is not None
        account.stored_artifact(watched)
        account.jobs.save(watched, advance(watched, Succeeded(attempt=1, gpu_seconds=1.5), now()))
        caller.received(socket, "done")
    caller.eventually(lambda: subscribers(caller, job) == AUDIENCE)
    assert account.connections.get(gone) is None


def add_young_subscribers(caller: Caller, job: Job, count: int) -> None:
    """Sockets that cannot be posted to and are too young to be closed for it.

    To close hundreds takes a small machine longer than an effect may take here. Their rows are
    copies of the row of the job's subscriber, because to subscribe them one by one takes seconds.
    """
    row = caller.account.items("ConnectionsTable", {"S": f"job#{job.id}"})[0]
    table = caller.account.endpoints.outputs["ConnectionsTable"]
    young = {**row, "since": time_of(now() + PAST)}
    rows = [{**young, "sk": {"S": f"conn#young{number}"}} for number in range(count)]
    for start in range(0, count, PUT_AT_ONCE):
        chunk = rows[start : start + PUT_AT_ONCE]
        put_items(caller.account.emulator.client("dynamodb"), table, chunk)


def push_chunk(caller: Caller) -> None:
    account, job = caller.account, caller.started()
    with caller.socket() as socket:
        send(socket, "subscribe", job)
        caller.received(socket, "status")
        (subscription,) = account.items("ConnectionsTable", {"S": f"job#{job.id}"})
        gone = a_gone_subscriber(caller, job, KeyId(caller.key.split("_")[1]))
        told = account.connections.subscribers(job.id, now())
        posts = [Post(job.id, json.dumps({"type": "told"}).encode(), must_arrive=True)]
        chunk = Chunk(job.id, told, posts, is_end=True)
        account.invoke(account.physical_id("api", "PushChunkFunction"), event_of(chunk))
        caller.received(socket, "told")
        caller.eventually(lambda: subscribers(caller, job) == 0)
        (row,) = account.items("ConnectionsTable", subscription["sk"])
        assert "jobs" not in row
        assert account.connections.get(gone) is None


def a_gone_subscriber(caller: Caller, job: Job, key_id: KeyId) -> ConnectionId:
    """A subscribed socket that was lost long ago without being closed."""
    connection = Connection(
        id=ConnectionId("gone" + secrets.token_hex(4)),
        owner=caller.owner,
        key_id=key_id,
        expires_at=now() + PAST,
    )
    caller.account.connections.open(connection)
    caller.account.connections.subscribe(connection, job.id, since=now() - PAST, limit=1)
    return connection.id


def authorize_socket(caller: Caller) -> None:
    """A client that sends no header, such as a browser, and a client that sends its key."""
    url = caller.call("POST", "/ws-tickets").json()["url"]
    with web.connect(url) as socket:
        socket.send(json.dumps({"action": "ping"}))
        caller.received(socket, "pong")
    socket_connects(caller)
    socket_connects(http.with_token(caller))
    with http.signed_in(caller) as page:
        socket_connects(replace(caller, key=http.bearer_of(page)))


# --- the clock and the worker ---------------------------------------------------------------------


def settle_jobs(caller: Caller) -> None:
    job = caller.started()
    caller.account.owners.take_slot(job.owner, slot_of(job), ONE_JOB, job.queued_at)
    caller.account.stored_artifact(job)
    ended = caller.account.jobs.save(
        job, advance(job, Succeeded(attempt=1, gpu_seconds=1.5), now())
    )
    unsettled = caller.account.unsettled(ended)  # once it has been settled
    assert caller.account.ledger.usage(job.owner).gpu_seconds == 1.5
    assert job.owner not in owners_with_slots(caller)
    sqs, queue = caller.account.emulator.client("sqs"), caller.account.endpoints.outputs
    step = {"step": "count", "job_id": job.id, "incarnation": unsettled.incarnation}
    sqs.send_message(
        QueueUrl=queue["ParkingQueueUrl"], MessageBody=json.dumps(step), DelaySeconds=0
    )
    caller.eventually(lambda: not caller.account.jobs.get(job.id).settle_pending)  # type: ignore[union-attr]
    try:
        caller.account.invoke(
            caller.account.physical_id("api", "SettleJobsFunction"), {"Records": [UNREADABLE]}
        )
    finally:
        sqs.purge_queue(QueueUrl=queue["ParkingQueueUrl"])


# A record that code of this schema cannot read, and sets aside.
UNREADABLE = {
    "eventID": "1",
    "eventName": "MODIFY",
    "dynamodb": {
        "SequenceNumber": "1",
        "Keys": {"pk": {"S": "job_unreadable"}, "sk": {"S": "job"}},
        "NewImage": {"schema": {"N": "99"}},
    },
}


def owners_with_slots(caller: Caller) -> set[OwnerId]:
    owners = caller.account.owners
    return {owner for shard in range(OWNER_SHARDS) for owner, _ in owners.slots(shard)}


def sweep_jobs(caller: Caller) -> None:
    account = caller.account
    ended = account.unsettled(caller.ended(queued_at=now() - 2 * PAST))
    over = replace(ended, expires_at=now() - PAST, due_at=now() - PAST, settle_pending=False)
    account.jobs.save(ended, over)  # as earlier code has left it: due for its removal
    missed = account.unsettled(caller.ended(queued_at=now() - 2 * PAST))
    account.jobs.save(missed, replace(missed, due_at=now() - PAST))
    lost = account.seeded(caller.owner, due_at=now() - PAST)
    left = Slot(random_job_id(now()), now() - SLOT_GRACE - timedelta(seconds=1))
    account.owners.take_slot(caller.owner, left, ONE_JOB, now())
    gone = a_gone_subscriber(caller, lost, account.disabled_key(caller.owner))
    with account.dropped(ended):
        account.invoke(account.physical_id("api", "SweepJobsFunction"), {})
        assert account.connections.get(gone) is None
        assert account.items("JobsTable", {"S": ended.id}) == []
        assert account.files(ended) == 0
        settled = account.jobs.get(missed.id)
        assert settled is not None
        assert settled.is_settled
    # The row counts the ticket before it is sent, so only a worker's claim shows that it was.
    caller.eventually_by_a_worker(lambda: account.jobs.get(lost.id).attempt > 0)  # type: ignore[union-attr]
    assert caller.owner not in owners_with_slots(caller)


def redrive_tickets(caller: Caller) -> None:
    """A ticket in the dead-letter queue is sent again, and a worker claims its job."""
    account = caller.account
    lost = account.seeded(caller.owner)
    account.emulator.client("sqs").send_message(
        QueueUrl=account.endpoints.outputs["DeadLetterQueueUrl"],
        MessageBody=json.dumps({"schema": 1, "job_id": lost.id}),
    )
    # The sweeper ignores this job, so only the ticket can lead a worker to it.
    caller.eventually_by_a_worker(lambda: account.jobs.get(lost.id).attempt > 0)  # type: ignore[union-attr]


def scale_workers(caller: Caller) -> None:
    """With a first job for an empty fleet, the scaler reads its inputs and orders a worker."""
    account, emulator = caller.account, caller.account.emulator
    fleet.ask_for_no_worker(emulator)
    emulator.client("dynamodb").delete_item(
        TableName=account.physical_id("scaler", "Scaling"), Key={"pk": {"S": "scaling"}}
    )
    scaler = account.physical_id("scaler", "ScaleWorkersFunction")
    account.invoke(scaler, {"arrived": 1})
    assert fleet.workers_asked_for(emulator) >= 1
    account.invoke(scaler, {})  # a fleet that is not empty has workers, and it reads their reports


def count_crashes(caller: Caller) -> None:
    """The crash of a worker is counted in the scaler's table."""
    account = caller.account
    detail = {"taskArn": "task", "stopCode": "EssentialContainerExited", "containers": []}
    account.invoke(account.physical_id("scaler", "CountCrashesFunction"), {"detail": detail})


def worker(caller: Caller) -> None:
    worker_fetches_a_model(caller)
    worker_frees_a_slot(caller)
    # A poll that is already open may still bring each worker one ticket, but no second one.
    for _ in range(len(caller.account.endpoints.pids.workers) + 1):
        worker_runs_a_job(caller)


def worker_fetches_a_model(caller: Caller) -> None:
    """The worker reads models when it starts, before it takes a job."""
    account, key = caller.account, f"models/loras/{secrets.token_hex(8)}"
    bucket = account.endpoints.outputs["ArtifactsBucket"]
    account.emulator.client("s3").put_object(Bucket=bucket, Key=key, Body=b"weights")
    store = S3ModelStore(account.as_role("WorkerTaskRole")("s3"), bucket)
    with store.open(key, 1, 5) as part:
        assert (part.size, b"".join(part.chunks)) == (7, b"eigh")


def worker_frees_a_slot(caller: Caller) -> None:
    """Call the store directly, because at the end of a job a failed call would only be logged.

    settle_jobs would then free the slot instead of the worker.
    """
    account, job = caller.account, caller.account.seeded(caller.owner, has_slot=True)
    account.owners.take_slot(job.owner, slot_of(job), ONE_JOB, job.queued_at)
    client = account.as_role("WorkerTaskRole")("dynamodb")
    DynamoOwnerStore(client, account.endpoints.outputs["OwnersTable"]).free_slot(
        job.owner, slot_of(job)
    )
    assert job.owner not in owners_with_slots(caller)


def worker_runs_a_job(caller: Caller) -> None:
    inputs = {"1.image": f"upload:{http.uploaded(caller)}"}
    answer = caller.call("POST", "/jobs", json={"workflow": http.LOADING, "inputs": inputs})
    path = f"/jobs/{answer.json()['job_id']}"
    try:
        caller.eventually_by_a_worker(
            lambda: caller.call("GET", path).json()["status"] == "succeeded"
        )
        (artifact,) = caller.call("GET", path).json()["result"]["artifacts"]
        assert web.get(artifact["url"]).is_success
    finally:
        caller.call("DELETE", path)


SMOKES: dict[str, Callable[[Caller], None]] = {
    "AuthorizeHttp": http.authorize_http,
    "AuthorizeSocket": authorize_socket,
    "SubmitJob": http.submit_job,
    "Generate": http.generate,
    "RetryJob": http.retry_job,
    "ListEvents": http.list_events,
    "ListArtifacts": http.list_artifacts,
    "GetArtifact": http.get_artifact,
    "CreateUpload": http.create_upload,
    "Sessions": http.sessions,
    "CreateToken": http.create_token,
    "CreateSocketPass": http.create_socket_pass,
    "ManageKeys": http.manage_keys,
    "ReadAccount": http.read_account,
    "SubmitComfyJob": comfy.submit_comfy_job,
    "FollowComfyJob": comfy.follow_comfy_job,
    "ServeComfyAssets": comfy.serve_comfy_assets,
    "ReadComfyJobs": comfy.read_comfy_jobs,
    "ListModels": http.list_models,
    "GetMetrics": http.get_metrics,
    "ManageOwners": admin.manage_owners,
    "ReadFleet": admin.read_fleet,
    "ServeDeadLetters": admin.serve_dead_letters,
    "ServeSwitches": admin.serve_switches,
    "GetJob": http.get_job,
    "ListJobs": http.list_jobs,
    "CancelJob": http.cancel_job,
    "SocketConnect": socket_connect,
    "SocketDisconnect": socket_disconnect,
    "SocketSubscribe": socket_subscribe,
    "PushChunk": push_chunk,
    "PushUpdates": push_updates,
    "SettleJobs": settle_jobs,
    "SweepJobs": sweep_jobs,
    "RedriveTickets": redrive_tickets,
    "ScaleWorkers": scale_workers,
    "CountCrashes": count_crashes,
    "Worker": worker,
}
