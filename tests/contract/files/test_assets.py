"""Records of assets: one write decides who has made one, and an owner finds only its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.contract.ids import OwnerId, Principal, User, UserId, asset_id
from comfyline.service.files.asset_store import Asset, AssetStore
from tests.contract.conftest import asset_store
from tests.support.builders import NOW

store = asset_store
FOX, OWL = OwnerId("fox"), OwnerId("fox#owl")
CUB = User(FOX, UserId("cub"))
HASH = "blake3:" + "ab" * 32


def an_asset(owner: Principal = FOX, hash_: str = HASH, name: str = "a.png") -> Asset:
    return Asset(
        id=asset_id(owner, hash_, name),
        principal=owner,
        hash=hash_,
        size_bytes=3,
        content_type="image/png",
        file_path=name,
        created_at=NOW,
        stored_at=NOW,
    )


def test_a_record_is_found_by_id_hash_and_name(store: AssetStore) -> None:
    names = ["a.png", "a", "a#b.png", "sub/é \U0001f98a.png"]
    kept = [an_asset(name=name) for name in names]
    assert [store.put(asset) for asset in kept] == [None] * 4
    for asset in kept:
        assert store.get(FOX, asset.id) == asset
        assert list(store.with_name(FOX, asset.file_path)) == [asset]
    assert {asset.id for asset in store.with_hash(FOX, HASH)} == {asset.id for asset in kept}


@pytest.mark.parametrize(("mine", "another"), [(FOX, OWL), (FOX, CUB), (CUB, FOX)])
def test_another_caller_finds_nothing(
    store: AssetStore, mine: Principal, another: Principal
) -> None:
    asset = an_asset(mine)
    store.put(asset)
    assert store.get(mine, asset.id) == asset
    assert store.get(another, asset.id) is None
    assert list(store.with_hash(another, HASH)) == list(store.with_name(another, "a.png")) == []


def test_the_first_record_of_an_id_stays(store: AssetStore) -> None:
    first, second = an_asset(), replace(an_asset(), created_at=NOW + timedelta(seconds=1))
    assert store.put(first) is None
    assert store.put(second) == first
    assert store.get(FOX, first.id) == first


def test_a_write_that_is_repeated_has_put_the_record(store: AssetStore) -> None:
    asset = an_asset()
    store.put(asset)
    assert store.put(asset) in (None, asset)


def test_a_record_is_replaced_if_it_is_as_it_was_read(store: AssetStore) -> None:
    old = an_asset()
    young = replace(old, stored_at=NOW + timedelta(days=1))
    store.put(old)
    assert store.put(young, replaces=old.stored_at) is None
    assert list(store.with_hash(FOX, HASH)) == list(store.with_name(FOX, "a.png")) == [young]
    late = replace(old, stored_at=NOW + timedelta(days=2))
    assert store.put(late, replaces=old.stored_at) == young
    assert store.get(FOX, old.id) == young


def test_a_claim_is_one(store: AssetStore) -> None:
    claim = replace(an_asset(), is_claim=True)
    store.put(claim)
    assert list(store.with_hash(FOX, HASH)) == [claim]


def test_a_deleted_record_is_found_no_more(store: AssetStore) -> None:
    asset, other = an_asset(), an_asset(name="b.png")
    for each in (asset, other):
        store.put(each)
    for _ in range(2):
        store.delete(asset)
    assert store.get(FOX, asset.id) is None
    assert list(store.with_hash(FOX, HASH)) == [other]
    assert list(store.with_name(FOX, "a.png")) == []
