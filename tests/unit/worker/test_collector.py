"""The content and the name under which each file and text is stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.adapters.memory.files import InMemoryArtifactStore
from gpu_worker.collector import MAX_NAME_LENGTH, Collector, safe_name
from gpu_worker.comfy.outputs import OutputText
from gpu_worker.made import Made
from gpu_worker.workspace import HeldFile
from tests.support.builders import a_job


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("ComfyUI_00001_.png", "ComfyUI_00001_.png"),
        ("हिन्दी.png", "हिन्दी.png"),
        ("ภาษาไทยที่นี่.png", "ภาษาไทยที่นี่.png"),
        ("日本語.png", "日本語.png"),
        (unicodedata.normalize("NFD", "Café Ångström.png"), "Café Ångström.png"),
        ("நன்றி.webp", "நன்றி.webp"),
        ("क्‍ष.png", "क्‍ष.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b (1).png", "a b (1).png"),
        ('a?b*c"<d>.png', "a_b_c__d_.png"),
        ("a\ud800b.png", "a_b.png"),
        ("a\u202egnp.exe", "a_gnp.exe"),
        ("...", "file"),
        ("", "file"),
    ],
)
def test_letters_and_marks_of_every_script_are_kept(name: str, stored: str) -> None:
    assert safe_name(name) == stored


@given(st.text(st.characters(), max_size=300))
def test_a_name_is_safe_and_bounded_and_stays_as_it_is(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= MAX_NAME_LENGTH
    assert not set(safe) & set('/\\<>:"|?*\x00\n&;$`')
    safe.encode()  # no lone surrogate
    assert safe_name(safe) == safe


# --- stored files ---------------------------------------------------------------------------------


def a_file(path: Path, name: str = "a.png") -> Made:
    content = HeldFile("output", name, path)
    return Made(name=name, node="9", kind="image", content=content)


def a_text(text: str) -> Made:
    return Made(
        name="t.txt", node="5", kind="text", content=OutputText(node="5", text=text, number=0)
    )


class Store(InMemoryArtifactStore):
    """Calls `during` while a file is stored."""

    def __init__(self, during: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._during = during

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        super().put(key, body, content_type)
        self._during()


async def test_files_are_stored_in_their_order(tmp_path: Path) -> None:
    made = []
    for number in range(20):
        (tmp_path / str(number)).write_text(str(number))
        made.append(a_file(tmp_path / str(number), f"{number}.png"))
    store = Store()
    artifacts, warnings = await Collector(artifacts=store).collect(a_job(), made)
    assert [artifact.name for artifact in artifacts] == [m.name for m in made]
    assert [store.files[artifact.key].body for artifact in artifacts] == [
        str(number).encode() for number in range(20)
    ]
    assert warnings == []


async def test_a_file_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("x")
    made = [a_file(tmp_path / "gone"), a_file(tmp_path / "good"), a_file(tmp_path / "folder")]
    (tmp_path / "folder").mkdir()
    artifacts, warnings = await Collector(artifacts=Store()).collect(a_job(), made)
    assert [artifact.bytes for artifact in artifacts] == [1]
    assert [(w.type, w.node_id) for w in warnings] == [("file_not_stored", "9")] * 2


async def test_a_file_that_grows_once_is_stored_as_it_is_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("begin")
    grow = iter([lambda: file.write_text("begin and end")])
    store = Store(lambda: next(grow, lambda: 0)() and None)
    artifacts, warnings = await Collector(artifacts=store).collect(a_job(), [a_file(file)])
    assert store.files[artifacts[0].key].body == b"begin and end"
    assert artifacts[0].bytes == len(b"begin and end")
    assert warnings == []


async def test_a_file_that_never_stops_growing_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    store = Store(lambda: file.write_text(file.read_text() + "x") and None)
    artifacts, warnings = await Collector(artifacts=store).collect(a_job(), [a_file(file)])
    assert artifacts == []
    assert "still being written" in warnings[0].message


async def test_files_stored_so_far_are_told_up_to_the_first_that_is_missing(tmp_path: Path) -> None:
    told: list[int] = []
    made = [a_text("one"), a_file(tmp_path / "gone"), a_text("two"), a_text("three")]
    artifacts, _ = await Collector(artifacts=Store()).collect(
        a_job(), made, stored=lambda files: told.append(len(files))
    )
    assert len(artifacts) == 3
    assert told == sorted(told)
    assert all(count <= 3 for count in told)


async def test_a_text_of_any_characters_is_stored_whole() -> None:
    store = Store()
    text = "ü" * 1_000_000 + "\ud800"
    artifacts, _ = await Collector(artifacts=store).collect(a_job(), [a_text(text)])
    body = store.files[artifacts[0].key].body
    assert body.decode() == "ü" * 1_000_000 + "?"
    assert (artifacts[0].bytes, artifacts[0].sha256) == (len(body), sha256(body).hexdigest())
