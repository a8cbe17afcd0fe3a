"""Dataclasses take the methods that were compiled before, if these are of the same Python."""

from __future__ import annotations

import dataclasses
import marshal
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions._methods import use_compiled_methods
from infra.compiled_methods import record_methods, written


def shown(name: str) -> str:
    """What a new class with one field prints."""
    return repr(dataclasses.make_dataclass("Shown", [name])(1))


@pytest.fixture(autouse=True)
def nothing_compiled_before_and_after() -> Iterator[None]:
    assert "exec" not in vars(dataclasses)  # a checkout has no such file
    yield
    vars(dataclasses).pop("exec", None)


@pytest.fixture
def content() -> bytes:
    """A file with the methods of the class with the field `known`, which print another word."""
    methods = record_methods()
    shown("known")
    del vars(dataclasses)["exec"]
    changed = {text: text.replace("(known=", "(compiled=") for text in methods}
    assert any("compiled=" in text for text in changed.values())
    return written(
        {text: marshal.dumps(compile(new, "<string>", "exec")) for text, new in changed.items()}
    )


def test_a_class_takes_its_compiled_methods(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "methods.bin"
    file.write_bytes(content)
    use_compiled_methods(file)
    assert shown("known").endswith("(compiled=1)")


def test_a_class_that_the_file_does_not_have_is_compiled(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "methods.bin"
    file.write_bytes(content)
    use_compiled_methods(file)
    assert shown("other").endswith("(other=1)")


def test_bytecode_of_another_python_is_not_used(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "methods.bin"
    file.write_bytes(b"\0\0\0\0" + content[4:])
    use_compiled_methods(file)
    assert shown("known").endswith("(known=1)")


def test_without_a_file_classes_are_compiled(tmp_path: Path) -> None:
    use_compiled_methods(tmp_path / "methods.bin")
    assert shown("known").endswith("(known=1)")
