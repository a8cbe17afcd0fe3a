"""Smoke runs for the functions behind the HTTP API. Each needs every permission of its role."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from comfyline.contract.ids import KeyId, OwnerId, UploadId, derived_job_id
from comfyline.service.access.authenticate import create_key, new_key
from comfyline.service.files.uploads import upload_key
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.intake.admit import slot_of
from functions._wiring import DEPTH_LIFETIME
from tests.e2e.account import now
from tests.e2e.caller import COUNTED, ONE_JOB, Caller, assert_fetched
from tests.support import web
from tests.support.builders import a_job, canceled
from tests.support.eventually import eventually_now

LOADING = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "none"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
}


def authorize_http(caller: Caller) -> None:
    assert caller.call("GET", "/jobs").status_code == 200
    assert with_token(caller).call("GET", "/models").status_code == 200
    with signed_in(caller) as page:
        assert replace(caller, key=bearer_of(page)).call("GET", "/models").status_code == 200


@contextmanager
def signed_in(caller: Caller) -> Iterator[httpx.Client]:
    """A browser with the cookie of a new session, on the pages of the service."""
    url = caller.account.endpoints.api_url
    own = {"Origin": "{0.scheme}://{0.netloc}".format(urlsplit(url))}
    with web.Client(base_url=f"{url}/api/v1", headers=own) as http:
        assert http.post("/sessions", headers=caller.headers).status_code == 201
        yield http


def bearer_of(page: httpx.Client) -> str:
    made = page.post("/sessions/token")
    assert made.status_code == 201
    return str(made.json()["token"])


def sessions(caller: Caller) -> None:
    """Sign in with the key and with a link, renew, and sign out."""
    made = caller.call("POST", "/sessions/links")
    assert made.status_code == 201
    link = replace(caller, key=made.json()["code"])
    for who in (caller, link):
        with signed_in(who) as page:
            bearer_of(page)
            assert page.delete("/sessions").status_code == 204
            assert page.post("/sessions/token").status_code == 401


def with_token(caller: Caller) -> Caller:
    """A user of the caller, with a new token."""
    made = caller.call("POST", "/tokens", json={"user": "smoke"})
    assert made.status_code == 201
    return replace(caller, key=made.json()["token"])


def create_token(caller: Caller) -> None:
    with_token(caller)


def submit_job(caller: Caller) -> None:
    posts(caller, "/jobs", {"Prefer": "wait=0"})


def generate(caller: Caller) -> None:
    posts(caller, "/generate", {"Prefer": "wait=0"})


def posts(caller: Caller, path: str, headers: dict[str, str]) -> None:
    """Use every permission that accepting a job and answering the request may need."""
    body = {"prompt": "smoke", "steps": 1, "width": 64, "height": 64, "priority": "low"}
    before = sent_low(caller)
    made = caller.call("POST", path, json=body, headers=headers)
    assert made.status_code == 202
    caller.eventually(lambda: sent_low(caller) > before or ended(caller, made))
    assert_limited(caller, path, body, headers)
    assert_uploads_looked_at(caller, path, headers)
    ended_before(caller, path, body)
    expired_before(caller, path, body, headers)


def sent_low(caller: Caller) -> int:
    """The number of tickets in the low lane, including those that a worker holds."""
    sqs, outputs = caller.account.emulator.client("sqs"), caller.account.endpoints.outputs
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    answer = sqs.get_queue_attributes(QueueUrl=outputs["LowQueueUrl"], AttributeNames=list(names))
    return sum(int(answer["Attributes"][name]) for name in names)


def ended(caller: Caller, made: httpx.Response) -> bool:
    view = caller.call("GET", f"/jobs/{made.json()['job_id']}").json()
    return bool(view["status"] == "succeeded")


def assert_limited(
    caller: Caller, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    """A post is refused while another job holds the only slot, and accepted after its end."""
    capped = limited(caller)
    old = caller.account.seeded(capped.owner)
    caller.account.owners.take_slot(capped.owner, slot_of(old), ONE_JOB, old.queued_at)
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
    caller.account.owners.take_slot(capped.owner, slot_of(holder), ONE_JOB, holder.queued_at)
    path = f"/jobs/{capped.overdue().id}/retry"
    assert capped.call("POST", path).status_code == 429
    caller.account.jobs.save(holder, canceled(holder, now=now()))
    assert capped.call("POST", path).status_code == 202
    retry_with_upload(caller)


def retry_with_upload(caller: Caller) -> None:
    """A retry checks again that the uploaded file exists."""
    upload_id = uploaded(caller)
    graph = {**LOADING, "2": {"class_type": "NoSuchOutput", "inputs": {"images": ["1", 0]}}}
    body = {"workflow": graph, "inputs": {"1.image": f"upload:{upload_id}"}}
    path = f"/jobs/{caller.call('POST', '/jobs', json=body).json()['job_id']}"
    caller.call("DELETE", path)
    ends = ("failed", "canceled")
    caller.eventually_by_a_worker(lambda: caller.call("GET", path).json()["status"] in ends)
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


def list_artifacts(caller: Caller) -> None:
    (artifact,) = caller.call("GET", f"/jobs/{caller.ended().id}/artifacts").json()["artifacts"]
    assert_fetched(artifact["url"])
    overdue = caller.call("GET", f"/jobs/{caller.overdue().id}/artifacts")
    assert (overdue.status_code, overdue.json()["artifacts"]) == (200, [])


def create_upload(caller: Caller) -> None:
    uploaded(caller)
    asked = {"name": "a.txt", "content_type": "text/plain", "bytes": 4, "blake3": "0" * 64}
    assert caller.call("POST", "/uploads", json=asked).status_code == 201


def uploaded(caller: Caller) -> str:
    """The id of a picture that was uploaded with a form of the API."""
    body = picture()
    asked = {"name": "a.png", "content_type": "image/png", "bytes": len(body)}
    form = caller.call("POST", "/uploads", json=asked).json()
    sent = web.post(form["url"], data=form["fields"], files={"file": ("a.png", body)})
    assert sent.is_success, sent.text
    return str(form["upload_id"])


def picture() -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(body, "PNG")
    return body.getvalue()


def get_artifact(caller: Caller) -> None:
    path = f"/jobs/{caller.ended().id}/artifacts/0"
    assert_fetched(caller.call("GET", path).headers["location"])
    url = caller.call("HEAD", path).headers["location"]
    assert web.head(url).headers["content-length"] == "4"
    assert caller.call("GET", f"/jobs/{caller.overdue().id}/artifacts/0").status_code == 404
    assert with_token(caller).call("GET", path).status_code == 404  # of another user
    with signed_in(caller) as page:
        assert_fetched(page.get(path).headers["location"])


def create_socket_pass(caller: Caller) -> None:
    answer = caller.call("POST", "/ws-tickets")
    assert answer.status_code == 201


def read_account(caller: Caller) -> None:
    assert limited(caller).call("GET", "/me").json()["active_jobs"] == 0
    caller.account.ledger.count([a_job(owner=caller.owner, gpu_seconds=1.5)])
    assert caller.call("GET", "/usage").json()["gpu_seconds"] == 1.5


def get_metrics(caller: Caller) -> None:
    key = caller.account.new_key(caller.owner, COUNTED, scope="admin")
    answer = web.get(
        f"{caller.account.endpoints.api_url}/metrics",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert "comfyui_active_workers" in answer.text, answer.text


def get_job(caller: Caller) -> None:
    overdue = caller.call("GET", f"/jobs/{caller.overdue().id}")
    assert overdue.json()["status"] == "expired"
    # Until then, the function may answer with a depth that it has read before.
    reads_again = now() + DEPTH_LIFETIME
    eventually_now(lambda: now() > reads_again)
    waiting = caller.call("GET", f"/jobs/{caller.account.seeded(caller.owner).id}")
    assert waiting.json()["queue_position"] >= 1
    seeded = caller.account.seeded(caller.owner).id
    assert caller.call("GET", f"/jobs/{seeded}/graph").json()["workflow"]
    ended = caller.call("GET", f"/jobs/{caller.ended().id}")
    (artifact,) = ended.json()["result"]["artifacts"]
    assert_fetched(artifact["url"])


def list_jobs(caller: Caller) -> None:
    job = caller.overdue()
    (listed,) = caller.call("GET", "/jobs").json()["jobs"]
    assert (listed["job_id"], listed["status"]) == (job.id, "expired")
    shown = caller.with_thumbnail()
    listed = caller.call("GET", "/jobs").json()["jobs"]
    (thumbnail,) = [each["thumbnail"] for each in listed if each["job_id"] == shown.id]
    assert_fetched(thumbnail["url"])


def cancel_job(caller: Caller) -> None:
    job = caller.account.seeded(caller.owner)
    assert caller.call("DELETE", f"/jobs/{job.id}").json()["status"] == "canceled"
    (output,) = caller.comfy("POST", f"/jobs/{caller.ended().id}/cancel").json()["outputs"]
    assert_fetched(output["url"])
    made = caller.account.unsettled(caller.ended())
    with caller.account.dropped(made):
        assert caller.call("DELETE", f"/jobs/{made.id}?purge=true").status_code == 202
        assert caller.account.items("JobsTable", {"S": made.id}) == []
        assert caller.account.files(made) == 0


def list_models(caller: Caller) -> None:
    assert caller.call("GET", "/models").status_code == 200


def manage_keys(caller: Caller) -> None:
    """Make, list, rotate and end keys; the row of a key that has ended long ago is removed."""
    account, owner = caller.account, OwnerId("smoke-" + secrets.token_hex(4))
    scopes, ages = ["jobs", "keys"], timedelta(days=30)
    _, text = create_key(owner, scopes=scopes, expires_at=None, keys=account.keys, clock=now)
    maker = Caller(account, owner, text)
    old, _ = new_key(
        owner, scopes=["jobs"], expires_at=now() - ages, now=now() - 2 * ages, made_by=KeyId("0")
    )
    account.keys.put(old)
    made = maker.call("POST", "/keys", json={})
    assert made.status_code == 201, made.text
    assert account.keys.get(old.id) is None
    path = f"/keys/{made.json()['view']['id']}"
    assert replace(caller, key=made.json()["key"]).call("GET", "/me").json()["owner"] == owner
    assert maker.call("POST", f"{path}/rotate", json={}).status_code == 201
    assert maker.call("DELETE", path).json()["state"] == "disabled"
    assert len(maker.call("GET", "/keys").json()["keys"]) == 3
