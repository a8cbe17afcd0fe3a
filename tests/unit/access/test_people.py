"""What a person gets: the claims of a verified token, and the rules of the deployment file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from comfyline.service.access.keys import ApiKey, is_vouched
from comfyline.service.access.people import SignInRules, is_reserved, vouched_key
from tests.support.builders import NOW

RULES = SignInRules(issuer="https://issuer.example", client_id="console", default_scopes="jobs")
CLAIMS: dict[str, Any] = {"sub": "alice", "exp": int(NOW.timestamp()) + 3600}


def key_of(rules: SignInRules = RULES, **claims: Any) -> ApiKey:
    found = vouched_key({**CLAIMS, **claims}, rules, NOW)
    assert found is not None
    return found


def test_a_person_has_an_owner_an_end_and_the_scopes_of_everybody() -> None:
    key = key_of()
    assert (key.owner, key.scopes, is_vouched(key.id)) == ("sso.alice", {"jobs"}, True)
    assert key.expires_at is not None
    assert (key.expires_at - NOW).total_seconds() == pytest.approx(3660, abs=1)  # with the leeway
    assert key_of().id == key.id
    assert key_of(sub="bob").id != key.id
    assert key_of(replace(RULES, issuer="https://other.example")).id != key.id


@pytest.mark.parametrize(
    "sub", ["a b", "ü", "x" * 61, "a/b", "a#b", "~waits", "\ud800", "user:1:a"]
)
def test_a_name_that_no_owner_can_have_is_hashed(sub: str) -> None:
    owner = key_of(sub=sub).owner
    assert owner.startswith("sso-")
    assert len(owner) == 44
    assert key_of(sub=sub + ".").owner != owner
    assert key_of(sub=owner).owner == f"sso.{owner}"  # nobody gets it by choosing the name


def test_owners_of_people_are_reserved() -> None:
    assert all(is_reserved(key_of(sub=sub).owner) for sub in ("alice", "a b"))
    assert not is_reserved("sso")
    assert not is_reserved("team-a")


@pytest.mark.parametrize("sub", [None, "", 7, ["alice"], {"a": 1}])
def test_without_the_claim_there_is_no_owner(sub: Any) -> None:
    assert vouched_key({**CLAIMS, "name": sub}, replace(RULES, owner_claim="name"), NOW) is None


@pytest.mark.parametrize("verified", [None, False, "true", 1])
def test_an_address_that_is_not_verified_is_no_owner(verified: Any) -> None:
    rules = replace(RULES, owner_claim="email")
    claims = {**CLAIMS, "email": "ceo@example.com", "email_verified": verified}
    assert vouched_key(claims, rules, NOW) is None
    assert key_of(rules, **{**claims, "email_verified": True}).owner == "sso.ceo@example.com"


def test_a_mapping_names_the_owners_and_no_other() -> None:
    rules = replace(RULES, owner_claim="team", owners={"design": "team-a"})
    assert key_of(rules, team="design").owner == "team-a"
    assert vouched_key({**CLAIMS, "team": "team-a"}, rules, NOW) is None


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        (["admins", "staff"], {"jobs", "admin"}),
        ("admins", {"admin"}),
        ("Domain admins", set()),
        (["Domain admins"], set()),
        ("readers", {"jobs:read"}),
        (["strangers", 7, None], set()),
        ("", set()),
        (None, set()),
        ({"admins": 1}, set()),
    ],
)
def test_scopes_come_from_a_mapping(claim: Any, scopes: set[str]) -> None:
    mapping = {"admins": "admin", "staff": "jobs", "readers": "jobs:read"}
    rules = replace(RULES, default_scopes="", scopes_claim="groups", scopes=mapping)
    found = vouched_key({**CLAIMS, "groups": claim}, rules, NOW)
    assert (found.scopes if found else set()) == scopes


@pytest.mark.parametrize("claim", ["scope", "scp"])
@pytest.mark.parametrize("value", ["a b", ["a", "b"]])
def test_scopes_of_the_standards_are_a_text_with_spaces_or_a_list(claim: str, value: Any) -> None:
    mapping = {"a": "jobs:read", "b": "admin"}
    rules = replace(RULES, default_scopes="", scopes_claim=claim, scopes=mapping)
    assert key_of(rules, **{claim: value}).scopes == {"jobs:read", "admin"}


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["a"]}}),
        ("resource_access.my.app.roles", {"resource_access": {"my.app": {"roles": ["a"]}}}),
        ("https://example.com/roles", {"https://example.com/roles": ["a"]}),
        ("realm_access.roles", {"realm_access.roles": ["a"], "realm_access": {"roles": []}}),
    ],
)
def test_a_claim_may_be_within_another_one(name: str, claims: dict[str, Any]) -> None:
    rules = replace(RULES, default_scopes="", scopes_claim=name, scopes={"a": "jobs:read"})
    assert key_of(rules, **claims).scopes == {"jobs:read"}
    strangers = ({}, {"realm_access": []}, {"realm_access": {"roles": {"a": 1}}}, {"roles": ["a"]})
    for other in strangers:
        assert vouched_key({**CLAIMS, **other}, rules, NOW) is None


def test_a_claim_cannot_name_a_scope_itself() -> None:
    rules = replace(RULES, scopes_claim="scope", scopes={"a": "jobs:read"})
    assert key_of(rules, scope="admin jobs a").scopes == {"jobs", "jobs:read"}


def test_a_required_claim_keeps_others_out() -> None:
    rules = replace(RULES, required_claims={"hd": "example.com"})
    assert key_of(rules, hd="example.com").owner == "sso.alice"
    for wrong in (None, "evil.com", "example.com.evil.com", "evil.com example.com", True):
        assert vouched_key({**CLAIMS, "hd": wrong}, rules, NOW) is None


@pytest.mark.parametrize(("claim", "text"), [(True, "true"), (False, "false"), (7, "7")])
def test_a_required_claim_may_be_no_text(claim: Any, text: str) -> None:
    assert key_of(replace(RULES, required_claims={"verified": text}), verified=claim)
    rules = replace(RULES, required_claims={"verified": "other"})
    assert vouched_key({**CLAIMS, "verified": claim}, rules, NOW) is None


@pytest.mark.parametrize(
    ("claim", "bound"),
    [(7, 7), ("7", 7), (0, 5), (-1, 5), (True, 5), ("x", 5), (None, 5), (10**12, 50_000)],
)
def test_limits_have_defaults_and_bounds(claim: Any, bound: int) -> None:
    rules = replace(RULES, limits={"max_active_jobs": 5}, limit_claims={"max_active_jobs": "cap"})
    assert key_of(rules, cap=claim).limits.max_active_jobs == bound


def test_a_name_is_shown_in_part() -> None:
    rules = replace(RULES, name_claim="email")
    assert key_of(rules, email="a" * 500).name == "a" * 80
    assert key_of(rules, email=7).name == ""
    assert key_of(rules, email="\ud800").name == "?"


def test_the_rules_are_read_from_json() -> None:
    text = '{"issuer": "https://i.example", "audiences": ["a"], "client_id": "c", "later": 1}'
    rules = SignInRules.parse(text)
    assert rules is not None
    assert (rules.accepted, rules.session.total_seconds()) == (("c", "a"), 43_200)
    assert SignInRules.parse("") is None
