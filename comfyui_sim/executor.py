"""Runs prompts one after the other.

Everything happens on the event loop; nodes with CPU work use threads. Between nodes the loop gets
a turn, so that delivery keeps pace as it does beside the real server's executor thread.
"""

from __future__ import annotations

import asyncio

from comfyui_sim.engine import Engine
from comfyui_sim.prompt_queue import QueueItem
from comfyui_sim.prompt_run import PromptRun


async def run_forever(engine: Engine) -> None:
    """Take prompts from the queue and execute them."""
    while True:
        await engine.queue.wait_pending()
        await engine.faults.pass_stall()
        if (item := engine.queue.take()) is not None:
            await _execute(engine, item)


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
