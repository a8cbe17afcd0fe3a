"""What every TokenStore and every AllowanceStore does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from comfyline.contract.ids import KeyId, UserId, random_job_id
from comfyline.service.access.slots import Allowance, AllowanceStore
from comfyline.service.access.tokens import Token, TokenStore
from tests.support.builders import NOW, an_owner

TOKEN = Token(
    sha256="ab" * 32,
    owner=an_owner(),
    key_id=KeyId("key_1"),
    user=UserId("alice@example.com"),
    scopes=frozenset({"jobs", "jobs:read"}),
    expires_at=NOW + timedelta(minutes=15),
    max_jobs=5,
)
PLAIN = replace(TOKEN, sha256="cd" * 32, user=None, max_jobs=None)


def test_a_token_is_found_as_it_was_stored(token_store: TokenStore) -> None:
    for token in (TOKEN, PLAIN):
        token_store.put(token)
    assert [token_store.get(one.sha256) for one in (TOKEN, PLAIN)] == [TOKEN, PLAIN]
    assert token_store.get("ef" * 32) is None


def test_each_job_counts_once_and_never_more_than_allowed(allowance_store: AllowanceStore) -> None:
    allowance = Allowance(TOKEN.sha256, 2, TOKEN.expires_at)
    first, second, third = (random_job_id(NOW) for _ in range(3))
    answers = [allowance_store.use(allowance, job) for job in (first, first, second, third, first)]
    assert answers == [True, True, True, False, True]
    other = replace(allowance, token=PLAIN.sha256)
    assert allowance_store.use(other, third)
