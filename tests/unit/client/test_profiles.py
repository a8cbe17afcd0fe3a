"""Profiles: kept for their owner alone, and never sent to another service."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from comfyline.client import Comfyline, NotConfigured, profiles, settings
from comfyline.client.profiles import Profile

PROD = Profile(url="https://prod.test", api_key="cl_prod_secret", ws_url="wss://prod.test/live")
DEV = Profile(url="https://dev.test", api_key="cl_dev_secret")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("COMFYLINE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_a_profile_is_read_as_it_was_written_and_others_cannot_read_it(folder: Path) -> None:
    profiles.write("prod", PROD)
    assert profiles.read("prod") == PROD
    (file,) = (folder / "profiles").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) & 0o077 == 0
    assert list(profiles.open_to_others()) == []
    file.chmod(0o644)
    assert list(profiles.open_to_others()) == [file]


def test_the_key_is_in_no_text_of_a_profile() -> None:
    assert "secret" not in f"{PROD!r} {PROD}"


@pytest.mark.parametrize("name", ["", "../prod", "a/b", ".hidden", "a b", "x" * 65, "\x1b[2J"])
def test_a_name_leads_nowhere_else(name: str) -> None:
    for act in (lambda: profiles.write(name, PROD), lambda: profiles.read(name)):
        with pytest.raises(NotConfigured, match="cannot be the name"):
            act()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"url": 1}', b" " * 99_999])
def test_a_damaged_file_says_how_to_mend_it(folder: Path, content: bytes) -> None:
    profiles.write("prod", PROD)
    (folder / "profiles" / "prod.json").write_bytes(content)
    with pytest.raises(NotConfigured, match="comfyline login prod"):
        profiles.read("prod")


def test_the_error_of_a_damaged_file_does_not_hold_the_key(folder: Path) -> None:
    profiles.write("prod", PROD)
    (folder / "profiles" / "prod.json").write_text('{"url": 7, "api_key": "cl_prod_secret"}')
    with pytest.raises(NotConfigured) as raised:
        profiles.read("prod")
    assert "secret" not in f"{raised.value} {raised.value.__cause__}"


def test_the_profile_in_use_is_the_chosen_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert profiles.current() is None
    profiles.write("default", DEV)
    profiles.write("prod", PROD)
    assert profiles.current() == DEV
    profiles.use("prod")
    assert profiles.current() == PROD
    monkeypatch.setenv("COMFYLINE_PROFILE", "default")
    assert profiles.current() == DEV
    with pytest.raises(NotConfigured, match="there is no profile other"):
        profiles.use("other")
    assert profiles.names() == ["default", "prod"]
    assert profiles.remove("prod")
    assert not profiles.remove("prod")


def test_a_profile_that_is_named_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYLINE_PROFILE", "prod")
    with pytest.raises(NotConfigured, match="there is no profile prod"):
        settings.address()


def test_writers_at_the_same_time_leave_a_whole_file(folder: Path) -> None:
    keys = [Profile(url="https://x.test", api_key=f"cl_{n}_" + "s" * 9999) for n in range(8)]
    threads = [threading.Thread(target=profiles.write, args=("prod", each)) for each in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert profiles.read("prod") in keys
    assert [path.name for path in (folder / "profiles").iterdir()] == ["prod.json"]


# --- which setting wins ---------------------------------------------------------------------------


def found(**given: str) -> tuple[str, str, str | None]:
    at = settings.address(**given)
    return at.url, at.api_key, at.ws_url


def test_the_profile_is_used_where_nothing_else_is_set() -> None:
    profiles.write("default", PROD)
    assert found() == ("https://prod.test", "cl_prod_secret", "wss://prod.test/live")


def test_the_environment_wins_and_a_key_goes_to_no_other_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profiles.write("default", PROD)
    monkeypatch.setenv("COMFYLINE_WS_URL", "wss://stale.test/live")
    assert found()[2] == "wss://prod.test/live"
    monkeypatch.setenv("COMFYLINE_API_KEY", "cl_env_key")
    assert found() == ("https://prod.test", "cl_env_key", "wss://prod.test/live")
    monkeypatch.delenv("COMFYLINE_API_KEY")
    monkeypatch.setenv("COMFYLINE_URL", "https://env.test")
    with pytest.raises(NotConfigured, match="COMFYLINE_API_KEY is not set"):
        found()
    with pytest.raises(NotConfigured, match="COMFYLINE_API_KEY is not set"):
        found(url="https://argument.test")
    monkeypatch.setenv("COMFYLINE_API_KEY", "cl_env_key")
    assert found() == ("https://env.test", "cl_env_key", "wss://stale.test/live")
    assert settings.is_in_environment()


def test_a_named_profile_wins_over_the_environment_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    profiles.write("dev", DEV)
    for variable in ("URL", "WS_URL", "API_KEY"):
        monkeypatch.setenv(f"COMFYLINE_{variable}", "https://env.test")
    assert found(profile="dev") == ("https://dev.test", "cl_dev_secret", None)
    with Comfyline(profile="dev") as client:
        assert client._api.base == "https://dev.test/api/v1"
