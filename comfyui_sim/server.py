"""The simulator: its parts, its loops, its start and its end."""

from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web

from comfyui_sim import executor
from comfyui_sim.engine import Engine, State
from comfyui_sim.faults import Switchboard
from comfyui_sim.hub import Hub
from comfyui_sim.nodes import node_types
from comfyui_sim.options import Exit, Folders, Options
from comfyui_sim.prompt_queue import PromptQueue, queue_status
from comfyui_sim.routes import Routes
from comfyui_sim.sim_routes import SimRoutes

EXIT_BROKEN = 70  # EX_SOFTWARE: a bug of the simulator, not a simulated fault


class Simulator:
    """A running simulator: `async with Simulator(options) as sim: ... sim.url`."""

    def __init__(self, options: Options, exit_process: Exit = os._exit) -> None:
        hub = Hub(exit_process)
        self.engine = Engine(
            options=options,
            folders=Folders(options.data_dir.absolute()),
            types=node_types(options.checkpoints),
            faults=Switchboard(options.step_ms, options.start_window_ms),
            hub=hub,
            queue=PromptQueue(self._send_status),
            exit_process=exit_process,
            state=State(),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0)
        self.port = options.port

    @property
    def url(self) -> str:
        """The address without a trailing slash."""
        return f"http://{self.engine.options.host}:{self.port}"

    async def __aenter__(self) -> Simulator:
        self.engine.folders.prepare()
        loops = (self.engine.hub.deliver_forever(), executor.run_forever(self.engine))
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(self._loop_ended)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.engine.options.host, self.engine.options.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.engine.hub.drop_all()
        self.engine.state.close()
        await self._runner.cleanup()

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        """End the process if a loop fails, so that a bug does not look like a simulated stall."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            sys.stderr.write(f"The simulator has a bug and ends: {fault!r}\n")
            self.engine.exit_process(EXIT_BROKEN)

    def _send_status(self) -> None:
        self.engine.hub.send("status", queue_status(self.engine.queue))

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=self.engine.options.max_upload_bytes)
        routes = Routes(self.engine)
        for method, path, handler in routes.table():
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"/api{path}", handler)
        for method, path, handler in routes.api_only():
            app.router.add_route(method, path, handler)
        SimRoutes(self.engine).add_to(app)
        return app
