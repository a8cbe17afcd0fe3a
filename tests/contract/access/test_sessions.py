"""What every SessionStore does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from comfyline.contract.ids import KeyId
from comfyline.service.access.sessions import EndedSession, Session, SessionStore
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


def test_the_sessions_of_an_owner_are_listed(session_store: SessionStore) -> None:
    other = replace(SESSION, owner=an_owner(), key_id=KeyId("sso-" + "1" * 32))
    for session in (SESSION, SECOND, OF_ANOTHER_KEY, other):
        session_store.put(session)
    own = {one.id for one in (SESSION, SECOND, OF_ANOTHER_KEY)}
    assert {*session_store.of_owner(SESSION.owner)} == own
    assert len(session_store.of_owner(SESSION.owner, limit=2)) == 2
    assert session_store.of_owner(SESSION.owner, OF_ANOTHER_KEY.key_id) == [OF_ANOTHER_KEY.id]
    assert session_store.of_owner(SESSION.owner, other.key_id) == []


def test_an_ended_session_is_gone_and_named_also_if_it_is_ended_twice(
    session_store: SessionStore,
) -> None:
    for session in (SESSION, SECOND):
        session_store.put(session)
    for _ in range(2):
        session_store.end(SESSION.id, NOW)
    assert session_store.get(SESSION.key_id, SESSION.sha256) is None
    assert session_store.of_key(SESSION.key_id) == [SECOND]
    assert session_store.of_owner(SESSION.owner) == [SECOND.id]
    assert session_store.ended() == [EndedSession(SESSION.id, NOW)]


def test_an_ended_session_is_forgotten_unless_it_was_ended_again(
    session_store: SessionStore,
) -> None:
    session_store.end(SESSION.id, NOW)
    (first,) = session_store.ended()
    session_store.end(SESSION.id, NOW + timedelta(seconds=1))
    session_store.forget(first)
    (again,) = session_store.ended()
    assert again.at == NOW + timedelta(seconds=1)
    for _ in range(2):
        session_store.forget(again)
    assert session_store.ended() == []
