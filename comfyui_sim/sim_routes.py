"""`/sim/*`: the simulator's own routes. A real ComfyUI server does not have them."""

from __future__ import annotations

import asyncio

from aiohttp import web

from comfyui_sim.engine import Engine
from comfyui_sim.faults import BadFaults
from comfyui_sim.hub import DEATH_DELAY_S


class SimRoutes:
    """`/sim/faults` (see `faults.py`) and `/sim/executed`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.router.add_get("/sim/faults", self._show)
        app.router.add_post("/sim/faults", self._change)
        app.router.add_delete("/sim/faults", self._reset)
        app.router.add_get("/sim/executed", self._executed)

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response(self._engine.faults.view())

    async def _change(self, request: web.Request) -> web.Response:
        change = await request.json()
        faults = self._engine.faults
        try:
            faults.apply(change)
        except BadFaults as fault:
            return web.json_response({"error": str(fault)}, status=400)
        self._engine.hub.muted = faults.mute_sockets
        if change.get("drop_sockets"):
            self._engine.hub.drop_all()
        if "die" in change:
            asyncio.get_running_loop().call_later(
                DEATH_DELAY_S, self._engine.exit_process, change["die"]
            )
        return web.json_response(faults.view())

    async def _reset(self, _: web.Request) -> web.Response:
        self._engine.faults.reset()
        self._engine.hub.muted = False
        return web.json_response(self._engine.faults.view())

    async def _executed(self, _: web.Request) -> web.Response:
        executed = self._engine.state.executed
        return web.json_response({"prompts": executed, "count": len(executed)})
