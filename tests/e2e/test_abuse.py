"""Two keys: what one caller does cannot hurt another, nor reach what is another's.

Each test is an attack by one owner. The victim is another owner with a key of its own.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from statistics import median
from threading import Event
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
from comfyline.contract.ids import OwnerId
from comfyline.contract.limits import MAX_RESPONSE_BYTES, MAX_UPLOAD_REFERENCES
from comfyline.service.access.semaphore import Share
from comfyline.service.access.slots import Limits
from comfyline.service.live.subscribe import GREETING_PAUSES_SECONDS
from localcloud.state import Endpoints
from tests.e2e.account import Account, now
from tests.e2e.attacks import (
    ENDLESS,
    FILE,
    TINY,
    canceled,
    flood,
    in_one_minute,
    is_ended,
    naming,
    refused_for,
    timed,
    victims_times,
)
from tests.e2e.caller import Caller
from tests.e2e.smokes_http import uploaded
from tests.support import web
from tests.support.eventually import eventually_now

pytestmark = pytest.mark.usefixtures("local")

UNLIMITED = Limits()


@pytest.fixture(scope="module")
def account(endpoints: Endpoints) -> Account:
    return Account(endpoints)


@pytest.fixture(scope="module")
def caller(account: Account) -> Callable[..., Caller]:
    """Makes a caller: a new key with these limits, of a new owner unless one is given."""

    def make(limits: Limits = UNLIMITED, owner: OwnerId | None = None) -> Caller:
        owner = owner or OwnerId("abuse-" + secrets.token_hex(4))
        return Caller(account, owner, account.new_key(owner, limits))

    return make


@pytest.fixture(scope="module")
def victim(caller: Callable[..., Caller]) -> Caller:
    return caller()


Make = Callable[..., Caller]


# --- what one post costs --------------------------------------------------------------------------


def test_a_post_looks_at_each_upload_once(caller: Make) -> None:
    attacker = caller(Limits(max_active_jobs=1))
    upload_id = uploaded(attacker)

    def post(times: int) -> httpx.Response:
        return attacker.call("POST", "/jobs", json=naming(upload_id, times))

    too_many, seconds = timed(lambda: post(998))
    assert (too_many.status_code, seconds < 5) == (422, True)
    with canceled(attacker, ENDLESS):
        at_its_cap, of_the_cap = timed(lambda: post(MAX_UPLOAD_REFERENCES))
    assert refused_for(at_its_cap) == "active_jobs"
    allowed, of_all = timed(lambda: post(MAX_UPLOAD_REFERENCES))
    assert (allowed.status_code, of_all < 5) == (202, True)
    print(f"references: 998 {seconds:.2f} s, 100 at the cap {of_the_cap:.2f} s, 100 {of_all:.2f} s")


def test_a_page_of_large_jobs_is_short(caller: Make) -> None:
    attacker = caller()
    long = "\U0001f98a" * 20_000
    with ExitStack() as posted:
        for _ in range(8):
            body = {**TINY, "prompt": long, "negative_prompt": long}
            posted.enter_context(canceled(attacker, body))
        page = attacker.call("GET", "/jobs?limit=100")
        assert (page.status_code, len(page.content) <= MAX_RESPONSE_BYTES) == (200, True)
        assert page.json()["next_cursor"] is not None


@pytest.mark.parametrize(
    ("size", "status"),
    [
        ({"width": 16384, "height": 16384}, 413),
        ({"width": 16384.0, "height": 16384.0}, 413),
        ({"width": "16384", "height": "16384"}, 422),
        ({"width": True}, 422),
        ({"batch_size": "4096"}, 422),
        ({"batch_size": "3000"}, 422),
        ({"batch_size": 11}, 413),
    ],
)
def test_sizes_of_a_limited_key_are_whole_numbers(
    caller: Make, size: dict[str, Any], status: int
) -> None:
    attacker = caller(Limits(max_pixels=4_000_000, max_batch_size=10))
    empty = {"width": 64, "height": 64, "batch_size": 1, "color": 0, **size}
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    graph = {"1": {"class_type": "EmptyImage", "inputs": empty}, "2": save}
    assert attacker.call("POST", "/jobs", json={"workflow": graph}).status_code == status


def test_a_retry_has_the_limits_of_its_key(caller: Make) -> None:
    attacker = caller()
    with canceled(attacker, {**ENDLESS, "batch_size": 9}) as job_id:
        pass
    limited = caller(Limits(max_batch_size=8), attacker.owner)
    assert limited.call("POST", f"/jobs/{job_id}/retry").status_code == 413


# --- budgets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "request_", "allowed", "budget"),
    [
        (Limits(uploads_per_minute=5), ("POST", "/uploads", FILE), 5, "uploads"),
        (Limits(upload_gb_per_day=1), ("POST", "/uploads", FILE), 10, "upload_bytes"),
        (Limits(sockets_per_minute=5), ("POST", "/ws-tickets", {}), 5, "socket_passes"),
        (Limits(requests_per_minute=5), ("GET", "/models", None), 5, "requests"),
        (Limits(requests_per_minute=15), ("GET", "/jobs?limit=100", None), 3, "requests"),
        (Limits(jobs_per_minute=1), ("POST", "/jobs", TINY), 1, "posts"),
    ],
)
def test_what_a_key_asks_for_is_bounded(
    caller: Make, limits: Limits, request_: tuple[str, str, Any], allowed: int, budget: str
) -> None:
    method, path, body = request_

    def asked() -> list[httpx.Response]:
        attacker = caller(limits)
        return [attacker.call(method, path, json=body) for _ in range(allowed + 5)]

    answers = in_one_minute(asked)
    assert [a.is_success for a in answers] == [True] * allowed + [False] * 5
    assert {refused_for(answer) for answer in answers[allowed:]} == {budget}


def test_open_sockets_of_a_key_are_bounded(caller: Make) -> None:
    attacker = caller(Limits(max_sockets=5))
    results = Counter[str]()
    with ExitStack() as opened:
        for _ in range(12):
            try:
                opened.enter_context(attacker.socket())
            except InvalidStatus as refusal:
                results[str(refusal.response.status_code)] += 1
            else:
                results["open"] += 1
    assert results["open"] == 5, results
    assert results.keys() <= {"open", "429", "403", "500"}, results  # the emulator chooses


def test_a_greeting_of_a_client_that_has_left_holds_no_function(account: Account) -> None:
    functions = account.emulator.client("lambda")
    names = [f["FunctionName"] for f in functions.list_functions()["Functions"]]
    (greeter,) = [name for name in names if "SocketSubscribe" in name]
    body = json.dumps({"action": "subscribe", "job_id": "job_00000000000000000000000000"})
    context = {"connectionId": "has-left=", "requestId": "r", "greeting": True}
    event = json.dumps({"requestContext": context, "body": body})
    greet = partial(functions.invoke, FunctionName=greeter, Payload=event)
    # A busy machine only makes a call longer, so the shortest one shows whether it is held.
    assert min(timed(greet)[1] for _ in range(3)) < sum(GREETING_PAUSES_SECONDS)


def test_one_owner_leaves_room_to_wait(account: Account, caller: Make, victim: Caller) -> None:
    table = account.endpoints.outputs["OwnersTable"]
    room = DynamoSemaphore(account.emulator.client("dynamodb"), table, "waits")
    until, greedy = now() + timedelta(minutes=1), OwnerId("abuse-" + secrets.token_hex(4))
    shares = [Share(greedy, f"job_{n}", 25) for n in range(100)]
    places = [room.enter(100, now=now(), until=until, share=share) for share in shares]
    held = [place for place in places if place]
    assert len(held) == 25
    try:
        assert victim.call("POST", "/generate", json=TINY).status_code == 200
    finally:
        for place in held:
            room.leave(place)


def test_one_job_is_waited_for_once(account: Account, caller: Make) -> None:
    attacker = caller()
    key = {"Idempotency-Key": secrets.token_hex(8)}
    headers = {"Prefer": "wait=4", **key}
    most = 0
    with canceled(attacker, ENDLESS, **key), ThreadPoolExecutor(4) as threads:
        post = partial(attacker.call, "POST", "/generate", json=ENDLESS, headers=headers)
        waits = [threads.submit(post) for _ in range(4)]
        while not all(wait.done() for wait in waits):
            rows = account.items("OwnersTable", {"S": "semaphore"})
            places = [len(row["places"]["M"]) for row in rows if row["sk"] == {"S": "waits"}]
            most = max([most, *places])
        assert {wait.result().status_code for wait in waits} == {202}
    assert most == 1


# --- what is another's ----------------------------------------------------------------------------


def test_a_job_of_another_is_not_there(caller: Make, victim: Caller) -> None:
    attacker, job = caller(), victim.ended()
    path = f"/jobs/{job.id}"
    tries = [
        ("GET", path),
        ("DELETE", path),
        ("DELETE", f"{path}?purge=true"),
        ("POST", f"{path}/retry"),
        ("GET", f"{path}/events"),
        ("GET", f"{path}/artifacts"),
        ("GET", f"/jobs/..%2fjobs%2f{job.id}"),
        ("GET", f"/jobs/{job.id.upper()}"),
        ("GET", f"{path}%00"),
    ]
    assert {attacker.call(*each).status_code for each in tries} == {404}
    assert attacker.call("GET", "/jobs").json()["jobs"] == []
    with attacker.socket() as socket:
        socket.send(json.dumps({"action": "subscribe", "job_id": job.id}))
        assert attacker.received(socket, "error")["code"] == "job_not_found"
    assert victim.call("GET", path).status_code == 200


def test_an_upload_of_another_is_not_there(caller: Make, victim: Caller) -> None:
    upload_id = uploaded(victim)
    answer = caller().call("POST", "/jobs", json=naming(upload_id, 1))
    assert answer.status_code == 422
    assert "there is no upload" in answer.text


def test_a_file_of_another_is_not_in_the_engine(caller: Make, victim: Caller) -> None:
    """Nor does the refusal tell which files are."""
    upload_id = uploaded(victim)
    attacker, load = caller(), naming("x", 1)
    load["workflow"]["0"]["inputs"]["image"] = f"{upload_id}.png"
    with canceled(victim, naming(upload_id, 2)), canceled(attacker, load) as job_id:
        eventually_now(lambda: is_ended(attacker, job_id))
        failed = attacker.call("GET", f"/jobs/{job_id}").json()
        assert failed["status"] == "failed"
        error = json.dumps(failed["error"])
    assert "upl_" not in error.replace(upload_id, "")
    assert "job_" not in error


def test_a_pass_and_a_form_do_what_they_were_made_for(caller: Make) -> None:
    attacker = caller()
    ticket = attacker.call("POST", "/ws-tickets").json()["ticket"]
    url = f"{attacker.account.endpoints.ws_url}?ticket={ticket}"
    with web.connect(url):
        pass
    with pytest.raises(InvalidStatus), web.connect(url):
        pass
    form = attacker.call("POST", "/uploads", json={**FILE, "bytes": 3}).json()
    for fields, content in (
        (form["fields"], b"four"),
        ({**form["fields"], "key": "jobs/x"}, b"abc"),
        ({**form["fields"], "Content-Type": "text/html"}, b"abc"),
    ):
        sent = web.post(form["url"], data=fields, files={"file": content})
        assert sent.status_code in (400, 403), sent.text


@pytest.mark.parametrize(
    "token", ["x", "cl_0000000000000000_" + "x" * 43, "Bearer", "x" * 8_000, "cl_flags_" + "x" * 43]
)
def test_a_wrong_key_opens_nothing(endpoints: Endpoints, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for path in ("/api/v1/jobs", "/metrics"):
        answer = web.get(endpoints.api_url + path, headers=headers)
        assert answer.status_code in (401, 403, 431)


def test_a_key_without_the_scope_reads_no_metrics(endpoints: Endpoints, victim: Caller) -> None:
    for path in ("/metrics", "//metrics", "/metrics/", "/METRICS", "/api/v1/../../metrics"):
        url = httpx.URL(endpoints.api_url).copy_with(raw_path=path.encode())
        answer = web.get(url, headers=victim.headers)
        assert answer.status_code in (403, 404)


# --- the victim meanwhile -------------------------------------------------------------------------

ROUNDS, LONG_ROUNDS = 4, 40


def test_a_victim_is_served_while_another_key_does_its_worst(
    caller: Make, victim: Caller, is_long: bool
) -> None:
    """The emulator runs every function of both owners on the cores of this machine.

    So the victim's times show the machine, too: they are printed, and bounded by what a client
    tolerates. What must hold anywhere is that the victim is never refused.
    """
    rounds = LONG_ROUNDS if is_long else ROUNDS
    quiet = victims_times(victim, rounds)
    attacker = caller(Limits(requests_per_minute=10, max_active_jobs=1, uploads_per_minute=3))
    over = Event()
    with ThreadPoolExecutor(3) as threads:
        floods = [threads.submit(flood, attacker, kind, over) for kind in range(3)]
        try:
            attacked = victims_times(victim, rounds)
        finally:
            over.set()
        statuses = sum((flood.result() for flood in floods), Counter[int]())
    for what, times in quiet.items():
        before, during = median(times), median(attacked[what])
        print(f"victim's {what}: median {before * 1000:.0f} ms, attacked {during * 1000:.0f} ms")
        assert during < max(2 * before, 5)
    print(f"the attacker got {dict(statuses)}")
    assert statuses[429] > statuses.total() / 2
