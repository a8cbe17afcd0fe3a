"""The image's sources are exactly the commits of the lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from comfyline.service.graphs.lock import EngineLock
from gpu_worker.checkout import WrongCommit, check_out_all

Repository = Callable[..., str]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, "-C", folder, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """Makes a repository at https://example.com/<name> (as git sees it) with a commit of `files`.

    Returns that commit. A second commit follows, so that the wanted commit is not the newest.
    """
    remote = tmp_path / "remote"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{remote}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://example.com/")

    def make(name: str, **files: str) -> str:
        folder = remote / name
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet")
        git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
        for file, text in files.items():
            (folder / file.replace("_", ".")).write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "one")
        commit = git(folder, "rev-parse", "HEAD")
        (folder / "main.py").write_text("newest")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", "two")
        return commit

    return make


def a_lock(engine: str, **nodes: str) -> str:
    sources = "".join(
        f'[[custom_nodes]]\nrepository = "https://example.com/{name}"\ncommit = "{commit}"\n'
        for name, commit in nodes.items()
    )
    comfyui = f'[comfyui]\nrepository = "https://example.com/engine"\ncommit = "{engine}"\n'
    return f'default_checkpoint = "a"\n{comfyui}{sources}'


def test_the_commits_of_the_lock_are_checked_out(repository: Repository, tmp_path: Path) -> None:
    lock = tmp_path / "lock.toml"
    lock.write_text(
        a_lock(
            repository("engine", main_py="pinned", requirements_txt="numpy"),
            One=repository("One", main_py="node", requirements_txt="scipy"),
            Two=repository("Two", main_py="node"),
        )
    )
    place = tmp_path / "comfyui"
    done = subprocess.run(
        [sys.executable, "-m", "gpu_worker.checkout", lock, place],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        f"-r {place}/requirements.txt",
        f"-r {place}/custom_nodes/One/requirements.txt",
    ]
    assert (place / "main.py").read_text() == "pinned"
    assert (place / "custom_nodes" / "Two" / "main.py").read_text() == "node"
    assert not list(place.rglob(".git"))


def test_a_branch_named_like_the_commit_is_not_used(repository: Repository, tmp_path: Path) -> None:
    commit = repository("engine", main_py="pinned")
    wanted = "0123456789" * 4
    git(tmp_path / "remote" / "engine", "update-ref", f"refs/heads/{wanted}", commit)
    with pytest.raises((WrongCommit, subprocess.CalledProcessError)):
        check_out_all(EngineLock.parse(a_lock(wanted)), tmp_path / "comfyui")
    assert not (tmp_path / "comfyui" / "main.py").exists()


def test_a_commit_that_does_not_exist_is_an_error(repository: Repository, tmp_path: Path) -> None:
    repository("engine", main_py="pinned")
    with pytest.raises(subprocess.CalledProcessError):
        check_out_all(EngineLock.parse(a_lock("f" * 40)), tmp_path / "comfyui")
