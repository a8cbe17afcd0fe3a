"""Keys that an owner makes itself, and each attack with one: none gains or outlives anything."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.contract.ids import KeyId, OwnerId
from comfyline.contract.limits import MAX_KEY_NAME, MAX_KEY_SECONDS, MAX_OVERLAP_SECONDS
from comfyline.contract.v1.access import KeyList, NewKeyResponse
from comfyline.service.access.authenticate import disable_key
from comfyline.service.access.budgets import NEW_KEYS
from comfyline.service.access.slots import Limits
from tests.integration.http_api.people import Person, a_person
from tests.integration.http_api.requests import code
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway

DAY, WEEK = 24 * 3600, 7 * 24 * 3600
MADE = 201
WRONG: list[Any] = [
    {"name": "x" * (MAX_KEY_NAME + 1)},
    {"name": "\x1b[2J"},
    {"name": "a\u202eb"},
    {"name": 7},
    {"scopes": []},
    {"scopes": ["root"]},
    {"owner": "evil"},
    {"expires_in": 0},
    {"expires_in": MAX_KEY_SECONDS + 1},
    {"limits": {"max_active_jobs": 0}},
    {"limits": {"max_active_jobs": "5"}},
    {"limits": {"all": 5}},
    [],
]


@pytest.fixture
def maker(gateway: Gateway) -> Person:
    return a_person(gateway, "acme", "jobs", "keys")


def made(maker: Person, **asked: Any) -> tuple[Person, NewKeyResponse]:
    reply = maker("POST", "/keys", asked)
    assert reply.status == MADE, reply.text
    assert reply.headers["cache-control"] == "no-store"
    answer = NewKeyResponse.model_validate_json(reply.text)
    return replace(maker, bearer=answer.key), answer


def works(person: Person) -> bool:
    return person("GET", "/me").status == 200


def states(person: Person) -> dict[str, str]:
    reply = person("GET", "/keys")
    assert reply.status == 200, reply.text
    return {key.id: key.state for key in KeyList.model_validate_json(reply.text).keys}


class TestOwner:
    def test_makes_lists_and_ends_a_key(self, maker: Person) -> None:
        shop, answer = made(maker, name="  Büro #1 ", limits={"max_active_jobs": 5})
        view = answer.view
        assert (view.name, view.owner, view.scopes) == ("Büro #1", "acme", ["jobs"])
        assert (view.made_by, view.limits.max_active_jobs) == (maker.key_id(), 5)
        assert shop.submitted()
        assert states(maker) == {maker.key_id(): "active", view.id: "active"}
        listed = maker("GET", "/keys").text
        assert answer.key.rpartition("_")[2] not in listed
        assert "sha256" not in listed
        ended = maker("DELETE", f"/keys/{view.id}")
        assert (ended.status, ended.json["state"]) == (200, "disabled")
        assert not works(shop)
        assert maker("DELETE", f"/keys/{view.id}").json == ended.json

    def test_rotates_a_key(self, maker: Person, clock: FrozenClock) -> None:
        old, answer = made(maker, name="shop", limits={"max_active_jobs": 5}, expires_in=WEEK)
        reply = maker("POST", f"/keys/{answer.view.id}/rotate", {"overlap_seconds": DAY})
        rotated = NewKeyResponse.model_validate_json(reply.text)
        new = replace(maker, bearer=rotated.key)
        assert (reply.status, rotated.view.name) == (MADE, "shop")
        assert rotated.view.limits.max_active_jobs == 5
        assert rotated.view.expires_at == answer.view.expires_at
        assert rotated.replaces is not None
        assert rotated.replaces.expires_at == clock() + timedelta(seconds=DAY)
        assert (works(old), works(new)) == (True, True)
        clock.advance(DAY)
        assert (works(old), works(new)) == (False, True)
        again = maker("POST", f"/keys/{answer.view.id}/rotate", {})
        assert code(again) == (404, "key_not_found")

    def test_rotates_a_key_of_an_operator_within_its_own_limits(self, gateway: Gateway) -> None:
        limits = Limits(max_active_jobs=9, jobs_per_minute=30_000, max_pixels=10**9)
        other = a_person(gateway, "acme", limits=limits)
        maker = a_person(gateway, "acme", "jobs", "keys", limits=Limits(max_active_jobs=3))
        reply = maker("POST", f"/keys/{other.key_id()}/rotate", {})
        found = reply.json["view"]["limits"]
        assert (found["max_active_jobs"], found["jobs_per_minute"]) == (3, 30_000)
        assert found["requests_per_minute"] == 6_000  # a rate of jobs would raise it
        assert found["max_pixels"] == 4_000_000
        assert found["max_sockets"] is None

    def test_a_maker_may_end_itself_and_so_all_that_it_has_made(self, maker: Person) -> None:
        shop, answer = made(maker)
        assert maker("DELETE", f"/keys/{maker.key_id()}").json["state"] == "disabled"
        assert not works(maker)
        assert not works(shop)
        assert answer.view.state == "active"


class TestAttack:
    @pytest.mark.parametrize("scopes", [["jobs"], ["admin"], ["jobs", "admin"]])
    def test_a_key_without_the_scope_neither_sees_nor_makes_keys(
        self, gateway: Gateway, maker: Person, scopes: list[str]
    ) -> None:
        thief = a_person(gateway, "acme", *scopes)
        path = f"/keys/{maker.key_id()}"
        for method, where in (
            ("GET", "/keys"),
            ("POST", "/keys"),
            ("DELETE", path),
            ("POST", f"{path}/rotate"),
        ):
            assert code(thief(method, where, {})) == (403, "forbidden")
        assert works(maker)

    def test_a_token_makes_no_key(self, maker: Person) -> None:
        token = maker.token("alice")
        for method, path in (("GET", "/keys"), ("POST", "/keys")):
            assert code(token(method, path, {})) == (403, "forbidden")

    def test_a_session_makes_no_key_but_lists_and_ends_keys(
        self, gateway: Gateway, maker: Person
    ) -> None:
        _, answer = made(maker)
        key = gateway.aws.keys.get(maker.key_id())
        assert key is not None
        session, _ = gateway.wiring.access.sign_in.start(key)
        _, bearer = gateway.wiring.access.sign_in.renew(session, key)
        page = replace(maker, bearer=bearer)
        assert code(page("POST", "/keys", {})) == (403, "forbidden")
        rotate = f"/keys/{answer.view.id}/rotate"
        assert code(page("POST", rotate, {})) == (403, "forbidden")
        assert len(states(page)) == 2
        assert page("DELETE", f"/keys/{answer.view.id}").status == 200

    def test_a_made_key_makes_no_key(self, gateway: Gateway, maker: Person) -> None:
        assert maker("POST", "/keys", {"scopes": ["keys"]}).status == 422
        shop, answer = made(maker)
        assert code(shop("POST", "/keys", {})) == (403, "forbidden")
        # Even if its row said so.
        keys = gateway.aws.keys
        keys.change(KeyId(answer.view.id), lambda key: replace(key, scopes=key.scopes | {"keys"}))
        assert code(shop("POST", "/keys", {})) == (403, "forbidden")

    @pytest.mark.parametrize("asked", [["admin"], ["jobs", "admin"]])
    def test_no_key_has_a_scope_that_its_maker_lacks(
        self, gateway: Gateway, maker: Person, asked: list[str]
    ) -> None:
        assert code(maker("POST", "/keys", {"scopes": asked})) == (403, "forbidden")
        operator = a_person(gateway, "acme", "admin")
        path = f"/keys/{operator.key_id()}"
        for method, where in (("DELETE", path), ("POST", f"{path}/rotate")):
            assert code(maker(method, where, {})) == (403, "forbidden")
        assert works(operator)
        reader, _ = made(maker, scopes=["jobs:read"])
        assert code(reader("POST", "/jobs", {"prompt": "a fox"})) == (403, "forbidden")
        assert reader("GET", "/jobs").status == 200

    def test_one_maker_cannot_end_another(self, gateway: Gateway, maker: Person) -> None:
        other = a_person(gateway, "acme", "jobs", "keys")
        assert code(other("DELETE", f"/keys/{maker.key_id()}")) == (403, "forbidden")
        assert works(maker)

    def test_keys_of_another_owner_do_not_exist(self, gateway: Gateway, maker: Person) -> None:
        _, answer = made(maker)
        stranger = a_person(gateway, "evil", "jobs", "keys")
        unknown = code(stranger("DELETE", f"/keys/{'0' * 16}"))
        for key_id in (answer.view.id, maker.key_id(), "flags", "owner%23acme", "x" * 300):
            assert code(stranger("DELETE", f"/keys/{key_id}")) == unknown
            assert code(stranger("POST", f"/keys/{key_id}/rotate", {})) == (404, "key_not_found")
        assert set(states(stranger)) == {stranger.key_id()}

    def test_no_limit_is_larger_than_that_of_the_maker(self, gateway: Gateway) -> None:
        names = [field.name for field in fields(Limits)]
        own = Limits(**dict.fromkeys(names, 7))
        for limits, too_much in ((own, 8), (Limits(), 10**9)):
            maker = a_person(gateway, "acme", "jobs", "keys", limits=limits)
            reply = maker("POST", "/keys", {"limits": dict.fromkeys(names, too_much)})
            assert reply.status == 422
            places = [error["loc"] for error in reply.json["errors"]]
            assert places == [["body", "limits", name] for name in names]
        maker = a_person(gateway, "acme", "jobs", "keys", limits=own)
        assert set(made(maker)[1].view.limits.model_dump().values()) == {7}
        smaller = made(maker, limits=dict.fromkeys(names, 6))[1]
        assert set(smaller.view.limits.model_dump().values()) == {6}

    def test_a_rate_of_jobs_does_not_raise_the_limit_of_requests(self, maker: Person) -> None:
        _, answer = made(maker, limits={"jobs_per_minute": 30_000})
        assert answer.view.limits.requests_per_minute == 6_000

    def test_limits_of_the_maker_that_are_lowered_later_hold_at_once(
        self, gateway: Gateway, maker: Person
    ) -> None:
        shop, _ = made(maker, limits={"max_active_jobs": 50})
        keys = gateway.aws.keys
        keys.change(maker.key_id(), lambda key: replace(key, limits=Limits(max_active_jobs=1)))
        assert shop.context()["max_active_jobs"] == "1"

    def test_no_key_outlives_its_maker(self, gateway: Gateway, clock: FrozenClock) -> None:
        ends = clock() + timedelta(days=1)
        maker = a_person(gateway, "acme", "jobs", "keys", expires_at=ends)
        assert maker("POST", "/keys", {"expires_in": DAY + 60}).status == 422
        shop, answer = made(maker)
        assert answer.view.expires_at == ends
        operators = a_person(gateway, "acme")
        rotated = maker("POST", f"/keys/{operators.key_id()}/rotate", {"overlap_seconds": DAY})
        heir = replace(maker, bearer=rotated.json["key"])
        clock.advance(DAY)
        assert not any(map(works, (maker, shop, heir)))

    def test_a_disabled_maker_takes_all_its_keys_with_it(
        self, gateway: Gateway, maker: Person, clock: FrozenClock
    ) -> None:
        """Also one that was made in the half minute in which the gateway still accepts the maker.

        So the answers of the authorizer, from before, are used here.
        """
        context = maker.context()
        shop, answer = made(maker)
        disable_key(maker.key_id(), keys=gateway.aws.keys, clock=clock)
        stale = replace(gateway, caller=context, owner="acme")
        assert code(stale("POST", "/api/v1/keys", {})) == (401, "unauthorized")
        rotate = f"/api/v1/keys/{answer.view.id}/rotate"
        assert code(stale("POST", rotate, {})) == (401, "unauthorized")
        assert not works(shop)
        other = a_person(gateway, "acme", "jobs", "keys")
        assert states(other)[answer.view.id] == "maker_ended"

    def test_tokens_and_passes_of_a_made_key_end_with_the_maker(
        self, gateway: Gateway, maker: Person, clock: FrozenClock
    ) -> None:
        shop, _ = made(maker)
        token = shop.token("alice")
        ticket = shop("POST", "/ws-tickets").json["ticket"]
        assert works(token)
        disable_key(maker.key_id(), keys=gateway.aws.keys, clock=clock)
        assert not works(token)
        assert gateway.wiring.access.redeem_socket_pass(ticket) is None

    def test_a_deleted_or_foreign_maker_ends_its_keys(
        self, gateway: Gateway, maker: Person
    ) -> None:
        shop, answer = made(maker)
        stranger = a_person(gateway, "evil", "jobs", "keys")
        key_id, keys = KeyId(answer.view.id), gateway.aws.keys
        keys.change(key_id, lambda key: replace(key, made_by=stranger.key_id()))
        assert not works(shop)
        keys.change(key_id, lambda key: replace(key, made_by=KeyId("0" * 16)))
        assert not works(shop)

    def test_the_number_of_new_keys_is_bounded(self, gateway: Gateway, maker: Person) -> None:
        gateway.aws.budgets.spend(OwnerId("acme"), NEW_KEYS, 99, 100, gateway.clock())
        _, answer = made(maker)
        refused = code(maker("POST", "/keys", {}))
        assert refused == (429, "too_many_requests")
        assert code(maker("POST", f"/keys/{answer.view.id}/rotate", {})) == refused

    def test_a_wrong_body_is_refused(self, maker: Person) -> None:
        for body in WRONG:
            assert code(maker("POST", "/keys", body)) == (422, "invalid_request"), body
        assert len(states(maker)) == 1

    def test_a_wrong_overlap_is_refused(self, maker: Person) -> None:
        _, answer = made(maker)
        for seconds in (-1, MAX_OVERLAP_SECONDS + 1, "1", 1.5):
            reply = maker("POST", f"/keys/{answer.view.id}/rotate", {"overlap_seconds": seconds})
            assert code(reply) == (422, "invalid_request"), seconds
