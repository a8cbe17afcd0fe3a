"""What every SessionStore does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from comfyline.contract.ids import KeyId
from comfyline.service.access.sessions import Session, SessionStore
from tests.support.builders import NOW, an_owner

SESSION = Session(
    sha256="ab" * 32,
    owner=an_owner(),
    key_id=KeyId("0123456789abcdef"),
    created_at=NOW,
    expires_at=NOW + timedelta(hours=12),
)
SECOND = replace(SESSION, sha256="cd" * 32, created_at=NOW + timedelta(seconds=1))
OF_ANOTHER_KEY = replace(SESSION, key_id=KeyId("fedcba9876543210"))


def test_a_session_is_found_as_it_was_stored(session_store: SessionStore) -> None:
    for session in (SESSION, SECOND, OF_ANOTHER_KEY):
        session_store.put(session)
    assert session_store.get(SESSION.key_id, SESSION.sha256) == SESSION
    assert session_store.get(OF_ANOTHER_KEY.key_id, SESSION.sha256) == OF_ANOTHER_KEY
    assert session_store.get(SESSION.key_id, "ef" * 32) is None


def test_the_sessions_of_a_key_are_listed(session_store: SessionStore) -> None:
    for session in (SESSION, SECOND, OF_ANOTHER_KEY):
        session_store.put(session)
    found = session_store.of_key(SESSION.key_id)
    assert sorted(found, key=lambda one: one.created_at) == [SESSION, SECOND]
    assert session_store.of_key(KeyId("0" * 16)) == []


def test_a_deleted_session_is_gone_also_if_it_is_deleted_twice(session_store: SessionStore) -> None:
    for session in (SESSION, SECOND):
        session_store.put(session)
    for _ in range(2):
        session_store.delete(SESSION)
    assert session_store.get(SESSION.key_id, SESSION.sha256) is None
    assert session_store.of_key(SESSION.key_id) == [SECOND]
