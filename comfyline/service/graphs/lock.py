"""What a deployment's engine is made of, pinned: the engine lock.

One file (TOML) says it for everybody. The image is built from it, the worker fetches its models by
it, and requests are validated against it, so that what a client may ask for is what a worker has.
Nothing in it may float: sources are named by commit, files by their SHA-256.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.storage_names import MODELS_PREFIX

CHECKPOINTS = "checkpoints"  # ComfyUI's folder of what a job calls a model

# Letters that mean the same to a file system, a URL and a shell. No part starts with a dot, so none
# is hidden and none leads upwards.
_PATH = re.compile(r"[A-Za-z0-9_][\w .+()-]*(/[A-Za-z0-9_][\w .+()-]*)+", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9_][\w.-]*\.json", re.ASCII)


class InvalidLock(ValueError):
    """The lock cannot be used; `problems` says where and why, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _checked_path(path: str) -> str:
    if (
        len(path) > 255
        or not _PATH.fullmatch(path)
        or any(p.endswith(" ") for p in path.split("/"))
    ):
        raise ValueError("is <folder>/<name>, relative, of letters, digits, space and ._+()-")
    return path


def _checked_file(name: str) -> str:
    if not _FILE.fullmatch(name):
        raise ValueError("is the name of a .json file beside the lock")
    return name


Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Repository = Annotated[str, Field(pattern=r"^https://[\w.-]+(/\w[\w.-]*)+$")]
ModelPath = Annotated[str, AfterValidator(_checked_path)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,255}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Section):
    """A repository at one commit."""

    repository: Repository
    commit: Commit

    @property
    def name(self) -> str:
        """What its folder is called."""
        return self.repository.rpartition("/")[2].removesuffix(".git")


class Model(_Section):
    """One file below the engine's models folder, and where a worker fetches it."""

    path: ModelPath  # <ComfyUI's folder>/<name>
    sha256: Sha256
    bytes: Annotated[int, Field(gt=0)]
    key: ModelPath = (
        ""  # in the models' bucket; models/<path> unless it lies elsewhere below models/
    )

    @model_validator(mode="before")
    @classmethod
    def _key_by_path(cls, data: object) -> object:
        if isinstance(data, dict) and "key" not in data and isinstance(data.get("path"), str):
            return {**data, "key": MODELS_PREFIX + data["path"]}
        return data

    @model_validator(mode="after")
    def _key_is_below_the_prefix(self) -> Self:
        if not self.key.startswith(MODELS_PREFIX):
            raise ValueError(f"key {self.key!r} does not start with {MODELS_PREFIX}")
        return self


class Allowed(_Section):
    """Names that a job may use; no node classes means that all are allowed."""

    samplers: tuple[Name, ...] = ()
    schedulers: tuple[Name, ...] = ()
    node_classes: tuple[Name, ...] = ()


class EngineLock(_Section):
    """The whole lock."""

    default_checkpoint: Name  # of a job that names none
    warm_up: Annotated[str, AfterValidator(_checked_file)] | None = (
        None  # API format, beside the lock
    )
    comfyui: Source
    custom_nodes: tuple[Source, ...] = ()
    models: tuple[Model, ...] = ()
    allowed: Allowed = Allowed()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = list(self._disagreements())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _disagreements(self) -> Iterator[str]:
        paths = [model.path for model in self.models]
        # Some file systems know no case.
        twice = [path for path, n in Counter(map(str.lower, paths)).items() if n > 1]
        yield from (f"two models have the path {path}" for path in twice)
        folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        yield from (f"{path} is a model and a folder" for path in paths if path in folders)
        names = Counter(node.name.lower() for node in self.custom_nodes)
        yield from (f"two custom nodes are called {name}" for name, n in names.items() if n > 1)
        if self.checkpoints and self.default_checkpoint not in self.checkpoints:
            yield f"default_checkpoint {self.default_checkpoint!r} is none of the models"

    @cached_property
    def checkpoints(self) -> tuple[str, ...]:
        """As a job names them: below their folder, which may have folders of its own."""
        start = f"{CHECKPOINTS}/"
        return tuple(m.path.removeprefix(start) for m in self.models if m.path.startswith(start))

    @cached_property
    def catalogue(self) -> Catalogue:
        """What requests are validated against."""
        return Catalogue(
            checkpoints=self.checkpoints,
            samplers=self.allowed.samplers,
            schedulers=self.allowed.schedulers,
            node_classes=frozenset(self.allowed.node_classes),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The lock in that text.

        Raises:
            InvalidLock: with everything that is wrong.
        """
        try:
            return cls.model_validate(_tuples(tomllib.loads(text)))
        except tomllib.TOMLDecodeError as error:
            raise InvalidLock([f"not TOML: {error}"]) from error
        except ValidationError as error:
            raise InvalidLock([_problem(e["loc"], e["msg"]) for e in error.errors()]) from error


def _tuples(value: object) -> object:
    """TOML's lists as the model's tuples, which it takes strictly."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(inner) for inner in value)
    return value


def _problem(loc: tuple[str | int, ...], message: str) -> str:
    where = ".".join(map(str, loc))
    message = message.removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
