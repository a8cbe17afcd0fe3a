"""The lock: how it is read, and which locks are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comfyline.service.graphs.lock import EngineLock, InvalidLock

ROOT = Path(__file__).parents[3]
COMMIT, SUM = "1234567890abcdef" * 2 + "12345678", "ab" * 32
LOCK = f"""
default_checkpoint = "a.safetensors"
[comfyui]
repository = "https://example.com/engine"
commit = "{COMMIT}"
[[models]]
path = "checkpoints/a.safetensors"
sha256 = "{SUM}"
bytes = 10
[[models]]
path = "loras/b.safetensors"
key = "models/shared/b.safetensors"
sha256 = "{SUM}"
bytes = 20
[allowed]
samplers = ["euler"]
node_classes = ["KSampler"]
"""


def problems(*changes: tuple[str, Any]) -> list[str]:
    text = LOCK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(InvalidLock) as refused:
        EngineLock.parse(text)
    return refused.value.problems


def test_a_lock_is_read() -> None:
    lock = EngineLock.parse(LOCK)
    assert lock.comfyui.commit == COMMIT
    assert [m.key for m in lock.models] == [
        "models/checkpoints/a.safetensors",
        "models/shared/b.safetensors",
    ]
    assert lock.checkpoints == ("a.safetensors",)
    catalogue = lock.catalogue
    assert (catalogue.samplers, catalogue.schedulers) == (("euler",), ())
    assert catalogue.allows("KSampler")
    assert not catalogue.allows("SaveImage")


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("*/engine.lock.toml")), ids=lambda p: str(p.parent.name)
)
def test_the_locks_of_the_project_are_valid(path: Path) -> None:
    lock = EngineLock.parse(path.read_text())
    assert lock.allowed.samplers
    if lock.warm_up is not None:
        assert path.with_name(lock.warm_up).is_file()


@pytest.mark.parametrize(
    "path",
    [
        "a.safetensors",
        "/checkpoints/a",
        "checkpoints/../a",
        "checkpoints//a",
        "../a/b",
        "checkpoints/.a",
        "checkpoints\\\\a/b",
        "checkpoints/a\\n",
        "checkpoints/a ",
        "checkpoints/a\\u0000",
        "checkpoints/" + "a" * 300,
        "~/a",
        "",
    ],
)
@pytest.mark.parametrize("where", ['"loras/b.safetensors"', '"models/shared/b.safetensors"'])
def test_a_path_that_leads_out_of_its_folder_is_refused(where: str, path: str) -> None:
    (problem,) = problems((where, f'"{path}"'))
    assert problem.startswith("models.1")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (COMMIT, "main", "comfyui.commit"),
        (COMMIT, COMMIT[:12], "comfyui.commit"),
        (COMMIT, COMMIT.upper(), "comfyui.commit"),
        (f'sha256 = "{SUM}"\nbytes = 10', 'sha256 = "ab"\nbytes = 10', "models.0.sha256"),
        ("bytes = 10", "bytes = 0", "models.0.bytes"),
        ("bytes = 10", 'bytes = "10"', "models.0.bytes"),
        ("bytes = 10", "bytes = true", "models.0.bytes"),
        ("https://example.com/engine", "git@example.com:engine", "comfyui.repository"),
        ("https://example.com/engine", "https://u:p@example.com/engine", "comfyui.repository"),
        ("https://example.com/engine", "--upload-pack=x", "comfyui.repository"),
        ("[comfyui]", 'warm_up = "../x.json"\n[comfyui]', "warm_up"),
        ("[comfyui]", "surprise = 1\n[comfyui]", "surprise"),
        ('["euler"]', '["\\u0007"]', "allowed.samplers.0"),
    ],
)
def test_the_place_of_a_value_that_is_not_pinned_or_not_valid_is_named(
    old: str, new: str, where: str
) -> None:
    (problem,) = problems((old, new))
    assert problem.startswith(f"{where}: ")


def test_all_errors_are_reported_at_once() -> None:
    assert len(problems((COMMIT, "main"), ("bytes = 10", "bytes = -1"))) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("loras/b", "checkpoints/A", "two models have the path checkpoints/a.safetensors"),
        ("loras/b.safetensors", "checkpoints/a.safetensors/b", "is both a model and a folder"),
        (
            '"a.safetensors"\n[',
            '"c.safetensors"\n[',
            "'c.safetensors' is not in the list of models",
        ),
        ("models/shared", "jobs/shared", "does not start with models/"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(old: str, new: str, said: str) -> None:
    (problem,) = problems((old, new))
    assert said in problem


def test_two_custom_nodes_of_one_name_are_refused_because_they_would_share_a_folder() -> None:
    nodes = "".join(
        f'[[custom_nodes]]\nrepository = "https://{host}/Nodes{end}"\ncommit = "{COMMIT}"\n'
        for host, end in (("a.example", ""), ("b.example", ".git"))
    )
    (problem,) = problems(("[allowed]", nodes + "[allowed]"))
    assert problem == "two custom nodes have the name nodes"


def test_a_lock_without_checkpoints_allows_every_model() -> None:
    start, end = LOCK.index("[[models]]"), LOCK.index("[allowed]")
    lock = EngineLock.parse(LOCK[:start] + LOCK[end:])
    assert lock.checkpoints == ()
    assert not list(
        lock.catalogue.unknown_names(checkpoint="any", sampler="euler", scheduler="any")
    )


def test_a_text_that_is_not_toml_is_refused() -> None:
    assert problems(("[comfyui]", "[comfyui"))[0].startswith("not TOML: ")
