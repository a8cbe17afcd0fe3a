"""Where an engine's files are: on the worker's own disk, or behind the engine's HTTP API.

Both classes move them into a holding folder on this disk, and keep their folder and path.
On its own disk the worker finds all files and leaves none. Of an engine elsewhere it gets only the
files that nodes report, and cannot remove any.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from comfyline.contract.media_types import media_type_of
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import EngineError, EngineUnreachable
from gpu_worker.comfy.outputs import OutputFile, Reported
from gpu_worker.turnstile import Visit
from gpu_worker.workspace import HeldFile, Hold, Workspace

Inputs = Mapping[str, Path]  # the files of a prompt, by their names in the engine's input folder


class EngineFiles(Protocol):
    """Brings the files of one prompt to its engine, and takes those that it makes."""

    base: str | None  # the folder that holds the engine's three; None if unknown

    async def prepare(self) -> None:
        """Remove what an earlier worker has left. Called before the first prompt."""

    async def new_hold(self) -> Hold:
        """A holding folder for one attempt."""

    async def bring(self, inputs: Inputs, visit: Visit) -> None:
        """Put the files into the engine's input folder.

        Raises:
            EngineUnreachable, EngineError: the engine does not take them.
        """

    async def take(
        self, made: Reported, inputs: Inputs, hold: Hold, visit: Visit, *, is_last: bool
    ) -> None:
        """Take the files of the prompt that has ended into `hold`, out of the engine's reach.

        Raises:
            EngineUnreachable: the files are still in the engine.
        """


class SharedFolders:
    """`EngineFiles` of an engine on this disk. Files are renamed, so it takes no time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._users: Counter[str] = Counter()  # how many prompts in the engine use an input
        self._one_at_a_time = asyncio.Lock()  # one prompt may enter while another leaves
        self.base: str | None = str(workspace.base)

    async def prepare(self) -> None:
        """See EngineFiles."""
        await asyncio.to_thread(self._workspace.prepare)

    async def new_hold(self) -> Hold:
        """See EngineFiles."""
        return await asyncio.to_thread(self._workspace.new_hold)

    async def bring(self, inputs: Inputs, visit: Visit) -> None:
        """See EngineFiles."""
        async with self._one_at_a_time:
            self._users.update(inputs.keys())
            await asyncio.to_thread(self._place, inputs, visit)

    def _place(self, inputs: Inputs, visit: Visit) -> None:
        if not visit.was_shared:  # files there belong to no job, such as a warm-up's picture
            self._workspace.clear()
        for name, file in inputs.items():
            self._workspace.place(file, name)

    async def take(
        self, made: Reported, inputs: Inputs, hold: Hold, visit: Visit, *, is_last: bool
    ) -> None:
        """See EngineFiles."""
        async with self._one_at_a_time:
            self._users.subtract(inputs.keys())
            self._users = +self._users  # without the inputs that no prompt uses any more
            if visit.was_shared:
                await asyncio.to_thread(self._take_reported, made, inputs, hold, is_last=is_last)
            else:
                await asyncio.to_thread(self._workspace.take_all, hold)

    def _take_reported(self, made: Reported, inputs: Inputs, hold: Hold, *, is_last: bool) -> None:
        for file in made.files:
            if file.type != "input":
                self._workspace.take(file.type, file.path, hold)
        for name in inputs:
            if name not in self._users:
                self._workspace.drop(name)
        if is_last:
            self._workspace.clear()


class OverHttp:
    """`EngineFiles` of an engine elsewhere. Only the files that nodes report are known."""

    def __init__(self, engine: ComfyEngine) -> None:
        self._engine = engine
        self.base: str | None = None

    async def prepare(self) -> None:
        """See EngineFiles: no request of ComfyUI removes a file."""

    async def new_hold(self) -> Hold:
        """See EngineFiles."""
        return await asyncio.to_thread(Hold.temporary)

    async def bring(self, inputs: Inputs, visit: Visit) -> None:  # noqa: ARG002 - the port's
        """See EngineFiles."""
        for name, path in inputs.items():
            with path.open("rb") as file:
                await self._engine.http.upload(name, file, media_type_of(name))

    async def take(
        self,
        made: Reported,
        inputs: Inputs,  # noqa: ARG002 - the port's
        hold: Hold,
        visit: Visit,  # noqa: ARG002 - the port's
        *,
        is_last: bool,  # noqa: ARG002 - the port's
    ) -> None:
        """See EngineFiles. What the engine does not hand out is left there."""
        for file in made.files:
            with suppress(EngineError):
                try:
                    await self._fetch(file, hold)
                except EngineUnreachable:  # its files outlive its process
                    await self._engine.wait_answer()
                    await self._fetch(file, hold)

    async def _fetch(self, file: OutputFile, hold: Hold) -> None:
        held = hold.new_path()
        with held.open("wb") as body:
            async for chunk in self._engine.http.view(file):
                body.write(chunk)
        hold.keep(HeldFile(file.type, file.path, held))
