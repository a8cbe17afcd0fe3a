"""What every KeyStore does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.access import InMemoryKeyStore
from comfyline.contract.ids import KeyId, OwnerId
from comfyline.service.access.keys import ApiKey, Flags, KeyStore, Switches, SwitchesChanged
from comfyline.service.access.slots import Limits
from tests.support.builders import NOW, an_owner


def a_key() -> ApiKey:
    return ApiKey(
        id=KeyId("key_1"),
        secret_sha256="ab" * 32,
        owner=an_owner(),
        scopes=frozenset({"jobs:read", "jobs:write"}),
        created_at=NOW,
    )


class TestKeyStore:
    def test_a_key_comes_back_as_it_was_put(self, key_store: KeyStore) -> None:
        key = a_key()
        key_store.put(key)
        assert key_store.get(key.id) == key

    def test_an_unknown_key_is_none(self, key_store: KeyStore) -> None:
        assert key_store.get(KeyId("key_unknown")) is None

    def test_get_many_returns_the_keys_that_exist(self, key_store: KeyStore) -> None:
        keys = [replace(a_key(), id=KeyId(f"key_{n}")) for n in range(3)]
        for key in keys[:2]:
            key_store.put(key)
        found = key_store.get_many([key.id for key in keys])
        assert sorted(found, key=lambda key: key.id) == keys[:2]
        assert key_store.get_many([]) == []

    def test_put_replaces_a_key(self, key_store: KeyStore) -> None:
        key = a_key()
        key_store.put(key)
        changed = replace(
            key, disabled_at=NOW, expires_at=NOW + timedelta(days=1), scopes=frozenset[str]()
        )
        key_store.put(changed)
        assert key_store.get(key.id) == changed

    def test_limits_are_stored(self, key_store: KeyStore) -> None:
        key = replace(a_key(), limits=Limits(max_active_jobs=5, jobs_per_minute=60))
        key_store.put(key)
        assert key_store.get(key.id) == key

    def test_all_returns_keys_oldest_first(self, key_store: KeyStore) -> None:
        newer = replace(a_key(), id=KeyId("key_2"), created_at=NOW + timedelta(days=1))
        older = a_key()
        for key in (newer, older):
            key_store.put(key)
        key_store.switch({"jobs_enabled": False}, NOW)
        assert key_store.all() == [older, newer]

    def test_keys_that_have_become_void_lately_are_found(self, key_store: KeyStore) -> None:
        hour = timedelta(hours=1)

        def stored(name: str, **ends: Any) -> None:
            key_store.put(replace(a_key(), id=KeyId(name), **ends))

        def lately() -> set[str]:
            return {*key_store.void_between(NOW - hour, NOW)}

        stored("valid")
        stored("disabled", disabled_at=NOW - hour / 2)
        stored("expired", expires_at=NOW)
        stored("expires-later", expires_at=NOW + hour)
        stored("long-ago", expires_at=NOW + hour, disabled_at=NOW - 2 * hour)
        stored("expired-before-it-was-disabled", expires_at=NOW - 2 * hour, disabled_at=NOW)
        assert lately() == {"disabled", "expired"}
        stored("disabled")
        assert lately() == {"expired"}

    def test_all_flags_are_on_until_they_are_switched_off(self, key_store: KeyStore) -> None:
        assert key_store.flags() == Flags(jobs_enabled=True, websocket_enabled=True)
        key_store.switch({"jobs_enabled": False}, NOW)
        assert key_store.flags() == Flags(jobs_enabled=False, websocket_enabled=True)
        assert key_store.get(KeyId("flags")) is None

    def test_a_switch_is_set_without_the_others(self, key_store: KeyStore) -> None:
        assert key_store.switches() == Switches()
        first = key_store.switch({"jobs_enabled": False}, NOW)
        assert first == Switches(Flags(jobs_enabled=False), 1, NOW)
        later = NOW + timedelta(minutes=1)
        second = key_store.switch({"websocket_enabled": False}, later, "ops")
        both_off = Flags(jobs_enabled=False, websocket_enabled=False)
        assert second == key_store.switches() == Switches(both_off, 2, later, "ops")

    @pytest.mark.parametrize("changes", [0, 1, 5])
    def test_of_two_operators_who_have_seen_the_same_the_second_is_refused(
        self, key_store: KeyStore, changes: int
    ) -> None:
        for _ in range(changes):
            key_store.switch({"jobs_enabled": False}, NOW)
        seen = key_store.switches().version
        first = key_store.switch({"jobs_enabled": True}, NOW, "ann", seen=seen)
        with pytest.raises(SwitchesChanged) as refused:
            key_store.switch({"websocket_enabled": False}, NOW, "bob", seen=seen)
        assert refused.value.current == key_store.switches() == first

    def test_the_mark_of_a_followed_owner_is_kept_apart_from_its_keys(
        self, key_store: KeyStore
    ) -> None:
        key = a_key()
        key_store.put(key)
        assert key_store.owner_watched_until(key.owner) is None
        later = NOW + timedelta(hours=1)
        for until in (NOW, later, NOW):
            key_store.watch_owner(key.owner, until)
        assert key_store.owner_watched_until(key.owner) == later
        assert key_store.owner_watched_until(OwnerId("another")) is None
        assert key_store.all() == [key]
        assert key_store.get(KeyId(f"owner#{key.owner}")) is None

    def test_what_is_known_of_a_made_key_is_stored(self, key_store: KeyStore) -> None:
        key = replace(a_key(), made_by=KeyId("key_0"), name="Büro #1", revision=7)
        key_store.put(key)
        assert key_store.get(key.id) == key

    def test_an_owner_has_its_own_keys_only(self, key_store: KeyStore) -> None:
        owner, other = OwnerId("ann"), OwnerId("ann2")
        keys = [
            replace(a_key(), id=KeyId(f"key_{n}"), owner=owner, created_at=NOW - n * DAY)
            for n in range(3)
        ]
        for key in (*keys, replace(a_key(), id=KeyId("key_9"), owner=other)):
            key_store.put(key)
        key_store.watch_owner(owner, NOW)
        assert key_store.of_owner(owner) == keys[::-1]
        assert key_store.of_owner(OwnerId("nobody")) == []

    def test_a_key_is_deleted(self, key_store: KeyStore) -> None:
        key = a_key()
        key_store.put(key)
        for _ in range(2):
            key_store.delete(key.id)
        assert (key_store.get(key.id), key_store.of_owner(key.owner)) == (None, [])


DAY = timedelta(days=1)


def disabled(key: ApiKey) -> ApiKey:
    return replace(key, disabled_at=NOW)


class TestChange:
    def test_each_change_raises_the_revision(self, key_store: KeyStore) -> None:
        key = a_key()
        key_store.put(key)
        changed = key_store.change(key.id, disabled)
        assert changed == key_store.get(key.id) == replace(disabled(key), revision=1)
        key_store.change(key.id, lambda key: replace(key, name="x"))
        found = key_store.get(key.id)
        assert found is not None
        assert (found.name, found.disabled_at, found.revision) == ("x", NOW, 2)

    def test_no_change_changes_nothing(self, key_store: KeyStore) -> None:
        key = a_key()
        key_store.put(key)
        assert key_store.change(key.id, lambda key: key) == key
        assert key_store.change(KeyId("none"), disabled) is None
        assert key_store.get(KeyId("none")) is None

    def test_two_changes_at_once_are_both_kept(self, key_store: KeyStore) -> None:
        """Another call disables the key while this one has read it and not written yet."""
        key = a_key()
        key_store.put(key)
        calls = []

        def renamed(key: ApiKey) -> ApiKey:
            if not calls:
                calls.append(key)
                key_store.change(key.id, disabled)
            return replace(key, name="new")

        if isinstance(key_store, InMemoryKeyStore):
            calls.append(key)  # it holds a lock, so no other call can be in between
            key_store.change(key.id, disabled)
        changed = key_store.change(key.id, renamed)
        assert changed is not None
        assert (changed.name, changed.disabled_at) == ("new", NOW)

    def test_what_the_change_raises_comes_out(self, key_store: KeyStore) -> None:
        key = a_key()
        key_store.put(key)

        def refuse(_key: ApiKey) -> ApiKey:
            raise LookupError("no")

        with pytest.raises(LookupError):
            key_store.change(key.id, refuse)
        assert key_store.get(key.id) == key

    def test_a_key_is_replaced_with_its_change_or_not_at_all(self, key_store: KeyStore) -> None:
        key, new = a_key(), replace(a_key(), id=KeyId("key_2"))
        assert not key_store.replace(key.id, disabled, new)
        assert key_store.get(new.id) is None
        key_store.put(key)
        assert key_store.replace(key.id, disabled, new)
        assert key_store.get(new.id) == new
        assert key_store.get(key.id) == replace(disabled(key), revision=1)
