"""Under many simultaneous posts, a key makes one job and the cap on active jobs is exact."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import httpx
import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.access.slots import Limits
from localcloud.state import Endpoints
from tests.e2e.account import Account
from tests.e2e.conftest import executed
from tests.support import web
from tests.support.eventually import eventually_now

pytestmark = pytest.mark.usefixtures("local")

POSTS = 1000  # with one key; the ordinary run sends 300
CAP, CROWD = 5, 200
AT_ONCE = 20  # connections; the emulator starts a process for each concurrent call
BODY = {"prompt": "one of many", "steps": 1, "width": 64, "height": 64}
# So many steps that no job ends while the others are still being posted.
SLOW = {**BODY, "steps": 1000}


Body = Mapping[str, Any]


def post_all(
    endpoints: Endpoints, tokens: list[str], posts: int, key: str | None, body: Body = BODY
) -> list[httpx.Response]:
    """Send `posts` simultaneous posts with each of the API keys in `tokens`."""

    async def run() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with web.AsyncClient(base_url=endpoints.api_url, limits=limits, timeout=300) as http:
            own = {"Idempotency-Key": key} if key else {}
            headers = [{"Authorization": f"Bearer {token}", **own} for token in tokens]
            calls = [
                http.post("/api/v1/jobs", json=body, headers=each)
                for _ in range(posts)
                for each in headers
            ]
            return await asyncio.gather(*calls)

    return asyncio.run(run())


@pytest.fixture
def account(endpoints: Endpoints) -> Account:
    return Account(endpoints)


def cancel_all(endpoints: Endpoints, token: str, ids: set[str]) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    with web.Client(base_url=endpoints.api_url, headers=headers) as http:
        for job_id in ids:
            assert http.delete(f"/api/v1/jobs/{job_id}").status_code == 202


def ended(account: Account, ids: set[str]) -> bool:
    jobs = account.jobs.get_many([*ids])  # type: ignore[list-item]
    return len(jobs) == len(ids) and all(job.status.is_terminal for job in jobs)


def test_posts_with_one_key_make_one_job_for_each_owner(
    endpoints: Endpoints, account: Account, is_long: bool
) -> None:
    posts = POSTS if is_long else 300
    before = executed(endpoints)
    owners = [OwnerId(f"crowd-{secrets.token_hex(4)}") for _ in range(2)]
    tokens = [account.new_key(owner) for owner in owners]
    key = secrets.token_hex(16)
    first = post_all(endpoints, tokens[:1], posts, key)
    assert Counter(answer.status_code for answer in first) == {202: posts}
    (job_id,) = {answer.json()["job_id"] for answer in first}
    new = [answer for answer in first if "idempotent-replayed" not in answer.headers]
    assert len(new) == 1
    both = post_all(endpoints, tokens, 20, key)
    ids = {str(answer.json()["job_id"]) for answer in both}
    assert job_id in ids
    assert len(ids) == 2
    eventually_now(lambda: ended(account, ids), every=0.2)
    assert executed(endpoints) - before == 2


def test_the_cap_on_active_jobs_is_exact_and_ended_jobs_free_their_slots(
    endpoints: Endpoints, account: Account
) -> None:
    owner = OwnerId(f"capped-{secrets.token_hex(4)}")
    token = account.new_key(owner, Limits(max_active_jobs=CAP))
    for _ in range(2):
        answers = post_all(endpoints, [token], CROWD, None, SLOW)
        accepted = [answer for answer in answers if answer.status_code == 202]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert (len(accepted), len(refused)) == (CAP, CROWD - CAP)
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        ids = {str(answer.json()["job_id"]) for answer in accepted}
        cancel_all(endpoints, token, ids)
        eventually_now(partial(ended, account, ids), every=0.2)
