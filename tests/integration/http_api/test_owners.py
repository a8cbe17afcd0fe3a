"""What an operator sees of owners and keys, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comfyline.contract.v1.accounts import KeyPage, OwnerPage
from comfyline.service.access.slots import Limits
from tests.integration.http_api.people import Person, a_person
from tests.integration.http_api.requests import code
from tests.support.builders import a_job, succeeded
from tests.support.gateway import Gateway


@pytest.fixture
def operator(gateway: Gateway) -> Person:
    return a_person(gateway, "ops", "admin")


def owners(operator: Person, query: str = "") -> OwnerPage:
    reply = operator("GET", f"/admin/owners{query}")
    assert reply.status == 200, reply.text
    assert "sha256" not in reply.text
    return OwnerPage.model_validate_json(reply.text)


def all_keys(operator: Person) -> set[str]:
    found, query = set[str](), "?limit=2"
    while query:
        reply = operator("GET", f"/admin/keys{query}")
        assert reply.status == 200, reply.text
        page = KeyPage.model_validate_json(reply.text)
        found |= {key.id for key in page.keys}
        query = f"?limit=2&cursor={page.next_cursor}" if page.next_cursor else ""
    return found


def test_owners_are_shown_with_what_they_have_and_use(gateway: Gateway, operator: Person) -> None:
    fox = a_person(gateway, "fox", limits=Limits(max_active_jobs=5, jobs_per_minute=9))
    fox.submitted()
    gateway.aws.ledger.count([succeeded(a_job(owner=gateway.aws.keys.get(fox.key_id()).owner))])  # type: ignore[union-attr]
    found = owners(operator)
    assert ([each.owner for each in found.owners], found.next_cursor) == (["fox", "ops"], None)
    (key,) = found.owners[0].keys
    assert (key.id, key.limits.max_active_jobs) == (fox.key_id(), 5)
    seen = found.owners[0]
    assert (seen.active_jobs, seen.posts_this_minute) == (1, 1)
    assert (seen.gpu_seconds, seen.jobs) == (1.25, 1)


def test_owners_and_keys_come_in_pages(gateway: Gateway, operator: Person) -> None:
    people = [operator, *(a_person(gateway, f"owner-{n}") for n in range(5))]
    gateway.aws.keys.watch_owner(gateway.aws.keys.owners()[0], gateway.clock())
    names, query = [], "?limit=4"
    while query:
        page = owners(operator, query)
        names += [each.owner for each in page.owners]
        query = f"?limit=4&cursor={page.next_cursor}" if page.next_cursor else ""
    assert names == ["ops", *(f"owner-{n}" for n in range(5))]
    assert all_keys(operator) == {person.key_id() for person in people}


def test_an_operator_disables_a_key_and_those_that_it_has_made(
    gateway: Gateway, operator: Person
) -> None:
    maker = a_person(gateway, "fox", "jobs", "keys")
    made = replace(maker, bearer=maker("POST", "/keys", {}).json["key"])
    reply = operator("POST", f"/admin/keys/{maker.key_id()}/disable")
    assert (reply.status, reply.json["state"]) == (200, "disabled")
    assert [person("GET", "/me").status for person in (maker, made)] == [401, 401]
    assert {key.state for key in owners(operator).owners[0].keys} == {"disabled", "maker_ended"}


def test_an_operator_changes_the_limits_of_a_key(gateway: Gateway, operator: Person) -> None:
    fox = a_person(gateway, "fox", limits=Limits(max_active_jobs=5, max_pixels=7))
    path = f"/admin/keys/{fox.key_id()}/limits"
    reply = operator("PUT", path, {"limits": {"max_active_jobs": 1}})
    assert reply.json["limits"]["max_active_jobs"] == 1
    assert reply.json["limits"]["max_pixels"] is None
    fox.submitted()
    assert code(fox("POST", "/jobs", {"prompt": "b"})) == (429, "too_many_jobs")
    assert operator("PUT", path, {"limits": {}}).json["limits"]["max_active_jobs"] is None


@pytest.mark.parametrize("limits", [{"max_active_jobs": 50_001}, {"jobs_per_minute": 0}, {"x": 1}])
def test_wrong_limits_are_refused(gateway: Gateway, operator: Person, limits: Any) -> None:
    path = f"/admin/keys/{a_person(gateway, 'fox').key_id()}/limits"
    assert code(operator("PUT", path, {"limits": limits})) == (422, "invalid_request")


@pytest.mark.parametrize("key_id", ["0" * 16, "flags", "owner%23fox", "x" * 300])
def test_what_is_no_key_is_not_found(operator: Person, key_id: str) -> None:
    for method, what in (("POST", "disable"), ("PUT", "limits")):
        reply = operator(method, f"/admin/keys/{key_id}/{what}", {"limits": {}})
        assert code(reply) == (404, "key_not_found")


@pytest.mark.parametrize("scopes", [("jobs",), ("jobs", "keys")])
def test_other_keys_and_tokens_see_and_change_nothing(
    gateway: Gateway, operator: Person, scopes: tuple[str, ...]
) -> None:
    thief = a_person(gateway, "ops", *scopes)
    path = f"/admin/keys/{operator.key_id()}"
    for person in (thief, thief.token("eve")):
        for method, where in (
            ("GET", "/admin/owners"),
            ("GET", "/admin/keys"),
            ("POST", f"{path}/disable"),
            ("PUT", f"{path}/limits"),
        ):
            assert code(person(method, where, {"limits": {}})) == (403, "forbidden")
    assert operator("GET", "/me").status == 200
