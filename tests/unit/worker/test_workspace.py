"""Everything that nodes leave in the engine's folders is moved away whole."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpu_worker.comfy.outputs import MODEL_FOLDERS
from gpu_worker.workspace import HOLDING, OWNED, Hold, Workspace


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "engine"


@pytest.fixture
def workspace(base: Path) -> Workspace:
    workspace = Workspace(base)
    workspace.prepare()
    return workspace


@pytest.fixture
def hold(workspace: Workspace) -> Iterator[Hold]:
    hold = workspace.new_hold()
    yield hold
    hold.remove()
    assert not hold.folder.exists()


def write(base: Path, path: str, body: str = "x") -> Path:
    file = base / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(body)
    return file


def left(base: Path) -> list[str]:
    """Everything that is in the engine's folders."""
    found = {path for kind in OWNED for path in (base / kind).rglob("*")}
    models = {base / "output" / name for name in MODEL_FOLDERS}
    return [str(path.relative_to(base)) for path in found - models]


def taken(workspace: Workspace, hold: Hold) -> dict[str, str]:
    """Everything is taken; the text of each file, by its folder and path."""
    workspace.take_all(hold)
    bodies = {}
    for file in hold.files():
        with file.open() as body:
            bodies[f"{file.type}/{file.path}"] = body.read().decode()
    return bodies


def test_every_file_is_taken_with_its_path(workspace: Workspace, base: Path, hold: Hold) -> None:
    paths = [
        "output/a.png",
        "output/x/y/b.png",
        "temp/p.png",
        "input/z",
        "output/x/c d\n.png",
        "datasets/d/s.pkl",
    ]
    for path in paths:
        write(base, path, path)
    assert taken(workspace, hold) == {path: path for path in paths}
    assert left(base) == []


def test_folders_that_comfyui_searches_for_models_stay(
    workspace: Workspace, base: Path, hold: Hold
) -> None:
    before = {name: (base / "output" / name).stat().st_ino for name in MODEL_FOLDERS}
    paths = ["output/loras/a.safetensors", "output/vae/x/y.safetensors"]
    for path in paths:
        write(base, path, path)
    assert taken(workspace, hold) == {path: path for path in paths}
    assert left(base) == []
    assert {name: (base / "output" / name).stat().st_ino for name in MODEL_FOLDERS} == before


@pytest.mark.parametrize("put", [Path.touch, lambda path: path.symlink_to("/etc"), lambda _: None])
def test_what_a_node_has_put_in_place_of_a_model_folder_goes(
    workspace: Workspace, base: Path, hold: Hold, put: Callable[[Path], None]
) -> None:
    (base / "output" / "vae").rmdir()
    put(base / "output" / "vae")
    workspace.take_all(hold)
    assert (base / "output" / "vae").is_dir()
    assert not (base / "output" / "vae").is_symlink()
    assert left(base) == []


def test_names_of_any_bytes_are_taken(workspace: Workspace, base: Path, hold: Hold) -> None:
    names = [b"\xff\xfe", "हिन्दी.png".encode(), b"-rf", b"a\\b", b"x" * 255, b"'\";$(id)"]
    for name in names:
        Path(os.fsdecode(os.fsencode(base / "output") + b"/" + name)).write_text("x")
    workspace.take_all(hold)
    assert sorted(os.fsencode(file.path) for file in hold.files()) == sorted(names)


def test_links_and_pipes_are_neither_followed_nor_waited_for(
    workspace: Workspace, base: Path, hold: Hold, tmp_path: Path
) -> None:
    secret = write(tmp_path, "secret/key")
    (base / "output" / "link").symlink_to(secret)
    (base / "output" / "folder").symlink_to(secret.parent)
    os.mkfifo(base / "temp" / "pipe")
    write(base, "output/x/good")
    (base / "output" / "x" / "loop").symlink_to(base / "output")
    assert taken(workspace, hold) == {"output/x/good": "x"}
    assert left(base) == []
    assert secret.exists()


def test_a_prefix_of_2000_folders_is_taken_and_removed(
    workspace: Workspace, base: Path, hold: Hold
) -> None:
    folder = os.open(base / "output", os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=folder)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    file = os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
    os.write(file, b"deep")
    os.close(file)
    os.close(folder)
    (only,) = taken(workspace, hold).items()
    assert only == ("output/" + "d/" * 2000 + "deep.png", "deep")
    assert left(base) == []


def test_a_hold_that_nobody_has_looked_into_is_removed_quietly(
    workspace: Workspace, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(base, "output/x/a.png")
    write(base, "output/b.png")
    hold = workspace.new_hold()
    workspace.take_all(hold)
    hold.remove()
    assert not hold.folder.exists()
    assert caplog.records == []


def test_folders_that_nobody_may_enter_are_taken(
    workspace: Workspace, base: Path, hold: Hold
) -> None:
    write(base, "output/locked/in/a.png")
    for folder in ("in", "."):
        (base / "output" / "locked" / folder).chmod(0)
    assert taken(workspace, hold) == {"output/locked/in/a.png": "x"}
    assert left(base) == []


def test_a_folder_that_a_node_has_replaced_by_a_link_is_not_emptied(
    workspace: Workspace, base: Path, hold: Hold, tmp_path: Path
) -> None:
    models = write(tmp_path, "models/large").parent
    shutil.rmtree(base / "output")
    (base / "output").symlink_to(models)
    assert taken(workspace, hold) == {}
    assert (models / "large").exists()
    assert not (base / "output").is_symlink()
    write(base, "output/a.png")
    assert taken(workspace, hold) == {"output/a.png": "x"}


def test_folders_that_the_operator_has_linked_are_used(base: Path, tmp_path: Path) -> None:
    base.mkdir()
    (tmp_path / "disk").mkdir()
    (base / "output").symlink_to(tmp_path / "disk")
    workspace = Workspace(base)
    workspace.prepare()
    write(tmp_path, "disk/a.png")
    assert taken(workspace, workspace.new_hold()) == {"output/a.png": "x"}


def test_folders_that_are_missing_count_as_empty(
    workspace: Workspace, base: Path, hold: Hold
) -> None:
    for kind in OWNED:
        shutil.rmtree(base / kind)
    assert taken(workspace, hold) == {}


def test_one_file_is_taken_by_its_name_and_the_others_stay(
    workspace: Workspace, base: Path, hold: Hold
) -> None:
    write(base, "output/x/a.png")
    write(base, "output/x/b.png")
    workspace.take("output", "x/a.png", hold)
    assert [file.path for file in hold.files()] == ["x/a.png"]
    assert "output/x/b.png" in left(base)


@pytest.mark.parametrize(
    "path", ["", ".", "x", "../secret", "x/../../secret", "/etc/passwd", "n\0"]
)
def test_a_name_that_is_no_file_of_the_folder_is_not_taken(
    workspace: Workspace, base: Path, hold: Hold, path: str
) -> None:
    write(base, "secret")
    write(base, "output/x/a")
    workspace.take("output", path, hold)
    assert hold.files() == []
    assert (base / "secret").exists()


def test_a_file_behind_a_link_is_not_taken_by_its_name(
    workspace: Workspace, base: Path, hold: Hold, tmp_path: Path
) -> None:
    secret = write(tmp_path, "secret/key")
    (base / "output" / "x").symlink_to(secret.parent)
    (base / "output" / "y").symlink_to(secret)
    workspace.take("output", "x/key", hold)
    workspace.take("output", "y", hold)
    assert hold.files() == []
    assert secret.exists()


def test_an_input_is_placed_and_dropped(workspace: Workspace, base: Path, hold: Hold) -> None:
    file = hold.new_path()
    file.write_text("picture")
    file.chmod(0o600)
    workspace.place(file, "a.png")
    placed = base / "input" / "a.png"
    assert placed.read_text() == "picture"
    assert stat.S_IMODE(placed.stat().st_mode) == 0o644
    workspace.drop("a.png")
    workspace.drop("a.png")
    assert left(base) == []


def test_what_a_killed_worker_has_left_is_removed(workspace: Workspace, base: Path) -> None:
    old = workspace.new_hold()
    for kind in OWNED:
        write(base, f"{kind}/x/stale.png")
    workspace.take_all(old)
    write(base, "output/later.png")
    Workspace(base).prepare()
    assert left(base) == []
    assert list((base / HOLDING).iterdir()) == []


def test_files_from_before_the_first_worker_are_kept(base: Path) -> None:
    write(base, "output/mine.png", "a person's")
    Workspace(base).prepare()
    assert left(base) == []
    (kept,) = (base / HOLDING).rglob("mine.png")
    assert kept.read_text() == "a person's"
    Workspace(base).prepare()
    assert kept.exists()


def test_the_holding_folder_is_the_workers_alone(workspace: Workspace, base: Path) -> None:
    workspace.new_hold()
    for folder in (base / HOLDING, *(base / HOLDING).iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_files_are_moved_to_another_file_system_too(tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"comfyline-{os.getpid()}"  # on another file system
    other.mkdir()
    try:
        base = tmp_path / "engine"
        base.mkdir()
        for kind in OWNED:
            (other / kind).mkdir()
            (base / kind).symlink_to(other / kind)
        workspace = Workspace(base)
        workspace.prepare()
        write(other, "output/x/a.png")
        os.mkfifo(other / "output" / "x" / "pipe")
        hold = workspace.new_hold()
        assert taken(workspace, hold) == {"output/x/a.png": "x"}
        file = hold.new_path()
        file.write_text("picture")
        workspace.place(file, "in.png")
        assert (other / "input" / "in.png").read_text() == "picture"
    finally:
        Hold(other).remove()
