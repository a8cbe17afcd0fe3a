"""Runs prompts one after the other.

The executor runs on the event loop, and nodes with CPU work use threads. After each node, the
executor lets other tasks run, so that messages are delivered while a prompt runs. The real server
delivers them beside its executor thread.

A graph that validation does not judge in full ends the real executor thread, and so does a message
that the log cannot encode. Then the server answers on, and the prompt stays in the queue for ever,
as do all that come after it.
"""

from __future__ import annotations

import asyncio
import logging

from comfyui_sim import graph
from comfyui_sim.engine import Engine
from comfyui_sim.prompt_queue import QueueItem
from comfyui_sim.prompt_run import LogFailed, PromptRun

log = logging.getLogger(__name__)


async def run_forever(engine: Engine) -> None:
    """Take prompts from the queue and execute them."""
    while True:
        await engine.queue.wait_pending()
        await engine.faults.pass_stall()
        if (item := engine.queue.take()) is None:
            continue
        try:
            await _execute(engine, item)
        except (graph.Broken, LogFailed) as error:
            log.warning("the executor ends, as ComfyUI's does: %s", error)
            await asyncio.Event().wait()


async def _execute(engine: Engine, item: QueueItem) -> None:
    await asyncio.sleep(engine.faults.start_window_ms / 1000)
    run = PromptRun(engine, item)
    engine.state.begin(item.prompt_id, run.client_id)
    result = await run.execute()
    engine.state.entered(None)
    engine.queue.finish(item, result)
    if run.client_id is not None:
        ended = {"node": None, "prompt_id": item.prompt_id}
        engine.hub.send("executing", ended, run.client_id)
