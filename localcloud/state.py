"""The folder that a local cloud keeps its state in, and what is in it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_STATE = ROOT / ".local"


class Pids(BaseModel):
    """The processes of a cloud on this machine; none of one that is elsewhere."""

    model_config = ConfigDict(extra="forbid")

    supervisor: int = 0
    emulator: int = 0
    comfyui: list[int] = []  # empty where COMFYUI_URL names one that is not ours
    workers: list[int] = []


class Endpoints(BaseModel):
    """`endpoints.json`: where everything is, and who may use it."""

    model_config = ConfigDict(extra="forbid")

    target: Literal["local", "localstack", "aws"] = "local"
    api_url: str
    ws_url: str
    api_key: str
    second_api_key: str  # of another owner
    # Of an emulator and its administrator. A real account is reached by this shell's credentials.
    aws_endpoint_url: str = ""
    aws_access_key_id: str = ""
    aws_secret_access_key: str = ""
    region: str
    comfyui_url: str = ""  # on this machine
    comfyui_urls: list[str] = []  # one for each worker
    outputs: dict[str, str]  # of all stacks
    pids: Pids = Pids()


@dataclass(frozen=True, slots=True)
class State:
    """The folder of one local cloud; several may run side by side in folders of their own."""

    folder: Path

    @property
    def endpoints_file(self) -> Path:
        """There while the cloud is up."""
        return self.folder / "endpoints.json"

    def prepare(self) -> None:
        """Make the folder, without what an earlier run said."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        self.endpoints_file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / "logs" / f"{name}.log"

    def write(self, endpoints: Endpoints) -> None:
        """Say where everything is: whole or not at all, and to this user alone."""
        draft = self.endpoints_file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(endpoints.model_dump_json(indent=2) + "\n")
        draft.replace(self.endpoints_file)

    def read(self) -> Endpoints | None:
        """Where everything is; None if nothing is up."""
        try:
            content: Any = json.loads(self.endpoints_file.read_text())
        except FileNotFoundError:
            return None
        return Endpoints.model_validate(content)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether a server can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
