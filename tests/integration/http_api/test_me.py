"""GET /api/v1/me: what a caller learns of itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.v1.access import Caller
from comfyline.service.access.slots import Limits
from tests.integration.http_api.people import Person, a_person
from tests.integration.http_api.requests import code
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway

DAY = timedelta(days=1)


def me(person: Person) -> Caller:
    reply = person("GET", "/me")
    assert reply.status == 200, reply.text
    return Caller.model_validate_json(reply.text)


@pytest.mark.parametrize("scope", ["jobs", "admin"])
def test_any_key_reads_who_it_is(gateway: Gateway, scope: str) -> None:
    found = me(a_person(gateway, "acme", scope))
    assert (found.owner, found.user, found.scopes) == ("acme", None, [scope])
    assert found.key is not None
    assert (found.key.name, found.key.expires_at, found.expires_at) == (None, None, None)
    assert found.limits is not None
    assert set(found.limits.model_dump().values()) == {None}
    assert (found.active_jobs, found.posts_this_minute) == (None, None)


def test_a_key_with_limits_reads_how_near_it_is(gateway: Gateway, clock: FrozenClock) -> None:
    limits = Limits(max_active_jobs=3, jobs_per_minute=9, max_batch_size=7)
    ends = clock() + DAY
    person = a_person(gateway, "acme", name="Büro #1", expires_at=ends, limits=limits)
    for seed in (1, 2):
        person.submitted({"prompt": "a fox", "seed": seed})
    found = me(person)
    assert found.key is not None
    assert (found.key.id, found.key.name) == (person.key_id(), "Büro #1")
    assert (found.key.expires_at, found.expires_at) == (ends, ends)
    assert found.limits is not None
    assert (found.limits.max_active_jobs, found.limits.max_batch_size) == (3, 7)
    assert (found.active_jobs, found.posts_this_minute) == (2, 2)
    clock.advance(60)
    assert me(person).posts_this_minute == 0


def test_a_key_without_cap_and_rate_costs_no_read(gateway: Gateway) -> None:
    without_tables = gateway.altered(owners=None)
    assert me(a_person(without_tables, "acme", limits=Limits(max_pixels=7))).owner == "acme"


def test_the_user_of_a_token_learns_nothing_of_the_key(
    gateway: Gateway, clock: FrozenClock
) -> None:
    limits, ends = Limits(max_active_jobs=3), clock() + timedelta(minutes=20)
    owner = a_person(gateway, "acme", name="shop", limits=limits, expires_at=ends)
    found = me(owner.token("alice", scopes=["jobs:read"], expires_in=60))
    assert (found.owner, found.user, found.scopes) == ("acme", "alice", ["jobs:read"])
    assert found.expires_at == clock() + timedelta(seconds=60)
    assert (found.key, found.limits, found.active_jobs) == (None, None, None)
    assert me(owner.token("alice", expires_in=3600)).expires_at == ends


@pytest.mark.parametrize("bearer", ["", "cl_0123456789abcdef_" + "x" * 43, "clt_" + "x" * 43])
def test_without_a_valid_key_there_is_no_answer(gateway: Gateway, bearer: str) -> None:
    assert code(Person(gateway, bearer)("GET", "/me")) == (401, "unauthorized")


def test_a_token_that_has_ended_gets_no_answer(gateway: Gateway, clock: FrozenClock) -> None:
    token = a_person(gateway, "acme").token("alice", expires_in=60)
    context: Any = token.context()
    clock.advance(61)
    gateway.caller = context
    assert code(gateway("GET", "/api/v1/me")) == (401, "unauthorized")
