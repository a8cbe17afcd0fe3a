"""The lock: a file (TOML) that pins ComfyUI, its custom nodes and its models.

The image is built from the lock, the worker fetches the models that it lists, and requests are
validated against it. A client can therefore ask for exactly what a worker has. Sources are pinned
by commit and files by SHA-256.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.storage_names import MODELS_PREFIX

CHECKPOINTS = "checkpoints"  # ComfyUI's folder of the models that a job can name

# Only characters that mean the same in a file system, a URL and a shell. No part starts with a dot,
# so that no file is hidden and no path leads upwards.
_PATH = re.compile(r"[A-Za-z0-9_][\w .+()-]*(/[A-Za-z0-9_][\w .+()-]*)+", re.ASCII)
_FILE = re.compile(r"[A-Za-z0-9_][\w.-]*\.json", re.ASCII)


class InvalidLock(ValueError):
    """The lock is not valid. `problems` has one line for each place and error."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _checked_path(path: str) -> str:
    if (
        len(path) > 255
        or not _PATH.fullmatch(path)
        or any(p.endswith(" ") for p in path.split("/"))
    ):
        raise ValueError("must be <folder>/<name>, made of letters, digits, spaces and ._+()-")
    return path


def _checked_file(name: str) -> str:
    if not _FILE.fullmatch(name):
        raise ValueError("must be the name of a .json file beside the lock")
    return name


Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Repository = Annotated[str, Field(pattern=r"^https://[\w.-]+(/\w[\w.-]*)+$")]
ModelPath = Annotated[str, AfterValidator(_checked_path)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,255}$")]

T = TypeVar("T")
Listed = Annotated[tuple[T, ...], Field(strict=False)]  # TOML has lists, no tuples


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Source(_Section):
    """A repository at one commit."""

    repository: Repository
    commit: Commit

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.repository.rpartition("/")[2].removesuffix(".git")


class Model(_Section):
    """One file in the engine's models folder, and its key in the bucket of models."""

    path: ModelPath  # <ComfyUI's folder>/<name>
    sha256: Sha256
    bytes: Annotated[int, Field(gt=0)]
    key: ModelPath = ""  # in the bucket of models; models/<path> unless given

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
    """Names that a job may use. An empty list allows every name."""

    samplers: Listed[Name] = ()
    schedulers: Listed[Name] = ()
    node_classes: Listed[Name] = ()


class EngineLock(_Section):
    """The whole lock."""

    default_checkpoint: Name  # for a job that names no model
    # A graph in API format, in a file beside the lock; a new worker runs it before its first job.
    warm_up: Annotated[str, AfterValidator(_checked_file)] | None = None
    comfyui: Source
    custom_nodes: Listed[Source] = ()
    models: Listed[Model] = ()
    allowed: Allowed = Field(default_factory=Allowed)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = list(self._disagreements())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _disagreements(self) -> Iterator[str]:
        paths = [model.path for model in self.models]
        # Some file systems ignore case, so paths that differ only in case count as equal.
        twice = [path for path, n in Counter(map(str.lower, paths)).items() if n > 1]
        yield from (f"two models have the path {path}" for path in twice)
        folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        yield from (f"{path} is both a model and a folder" for path in paths if path in folders)
        names = Counter(node.name.lower() for node in self.custom_nodes)
        yield from (f"two custom nodes have the name {name}" for name, n in names.items() if n > 1)
        if self.checkpoints and self.default_checkpoint not in self.checkpoints:
            yield f"default_checkpoint {self.default_checkpoint!r} is not in the list of models"

    @cached_property
    def checkpoints(self) -> tuple[str, ...]:
        """The names of the checkpoints in the form that jobs use: their paths below the folder."""
        start = f"{CHECKPOINTS}/"
        return tuple(m.path.removeprefix(start) for m in self.models if m.path.startswith(start))

    @cached_property
    def catalogue(self) -> Catalogue:
        """The names that requests are validated against."""
        return Catalogue(
            checkpoints=self.checkpoints,
            samplers=self.allowed.samplers,
            schedulers=self.allowed.schedulers,
            node_classes=frozenset(self.allowed.node_classes),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a lock.

        Raises:
            InvalidLock: with every error.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise InvalidLock([f"not TOML: {error}"]) from error
        except ValidationError as error:
            raise InvalidLock([_problem(e["loc"], e["msg"]) for e in error.errors()]) from error


def _problem(loc: tuple[str | int, ...], message: str) -> str:
    where = ".".join(map(str, loc))
    message = message.removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
