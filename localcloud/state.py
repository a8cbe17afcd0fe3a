"""The folder in which a local cloud keeps its state: logs, temporary files and endpoints."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_STATE = ROOT / ".local"
# Below the ports that the kernel gives to connections and to servers that name none, so that no
# process gets a free port before the server that it was chosen for listens.
CHOSEN_PORTS = (20_000, 32_768)


class CloudFailed(Exception):
    """A step failed. The message says to the user what failed and why."""


class Pids(BaseModel):
    """The processes of a local cloud. A deployment to LocalStack or AWS has none here."""

    model_config = ConfigDict(extra="forbid")

    supervisor: int = 0
    emulator: int = 0
    comfyui: list[int] = []  # empty if COMFYUI_URL names a ComfyUI that runs elsewhere
    workers: list[int] = []


class Endpoints(BaseModel):
    """The content of `endpoints.json`: URLs, API keys, outputs of the stacks and processes."""

    model_config = ConfigDict(extra="forbid")

    target: Literal["local", "localstack", "aws"] = "local"
    api_url: str
    ws_url: str
    api_key: str
    second_api_key: str  # of another owner
    # URL and credentials of an emulator. For a real account, use the credentials of this shell.
    aws_endpoint_url: str = ""
    aws_access_key_id: str = ""
    aws_secret_access_key: str = ""
    region: str
    comfyui_url: str = ""  # on this machine
    comfyui_urls: list[str] = []  # one for each worker
    outputs: dict[str, str]  # of all stacks
    pids: Pids = Pids()

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment variables that the client reads."""
        return {
            "COMFYLINE_URL": self.api_url,
            "COMFYLINE_WS_URL": self.ws_url,
            "COMFYLINE_API_KEY": self.api_key,
        }


@dataclass(frozen=True, slots=True)
class State:
    """The folder of one local cloud. Several clouds may run at once, each in its own folder."""

    folder: Path

    @property
    def endpoints_file(self) -> Path:
        """A file that exists while the cloud is up."""
        return self.folder / "endpoints.json"

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of the emulator and the functions."""
        return self.folder / "tmp"

    def prepare(self) -> None:
        """Create the folder, and remove the endpoints of an earlier run."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        self.endpoints_file.unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """The file that gets the output of a process."""
        return self.folder / "logs" / f"{name}.log"

    def write(self, endpoints: Endpoints) -> None:
        """Write the endpoints, as a whole file that only this user may read."""
        draft = self.endpoints_file.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(endpoints.model_dump_json(indent=2) + "\n")
        draft.replace(self.endpoints_file)

    def read(self) -> Endpoints | None:
        """The endpoints; None if no cloud is up."""
        try:
            return Endpoints.model_validate_json(self.endpoints_file.read_bytes())
        except FileNotFoundError:
            return None


def free_port() -> int:
    """A port on which no process listens now, and which the kernel gives to none."""
    while not is_free(port := random.randrange(*CHOSEN_PORTS)):
        pass
    return port


def is_free(port: int) -> bool:
    """Whether a server can listen on that port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
