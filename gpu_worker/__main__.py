"""The worker process: `python -m gpu_worker`, configured by environment variables."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from comfyline.service.log_lines import log_line
from gpu_worker.aws_clock import sign_by
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.health import WorkerUnhealthy
from gpu_worker.log_context import LogContextFormatter
from gpu_worker.models.download import ModelsUnusable
from gpu_worker.prepare import WarmUpFailed
from gpu_worker.wiring import Wiring
from gpu_worker.worker import DrainOverran

# Three long polls, four file transfers, and the writes of three jobs, all of which may block.
_THREADS = 32


def main() -> None:
    """Work until SIGTERM or SIGINT, then give back running jobs and exit 0; 1 if that failed."""
    wiring = Wiring(os.environ)
    sign_by(wiring.clock)
    logger = Logger(
        service="gpu_worker",
        worker_id=wiring.worker_id,
        logger_formatter=LogContextFormatter(json_serializer=log_line),
    )
    copy_config_to_registered_loggers(source_logger=logger, include={"comfyline", "gpu_worker"})
    try:
        asyncio.run(work(wiring, logger))
    except (EngineCrashLoop, DrainOverran, ModelsUnusable, WarmUpFailed, WorkerUnhealthy):
        logger.critical("worker failed", exc_info=True, extra={"action": "worker_failed"})
        sys.stdout.flush()
        os._exit(1)  # at once: a thread that hangs must not keep the process alive


async def work(wiring: Wiring, logger: Logger) -> None:
    """Prepare the worker, then run jobs until SIGTERM or SIGINT."""
    drain, retire, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS))

    def stop(number: signal.Signals) -> None:
        logger.info("worker drains", extra={"action": "worker_drains", "signal": number.name})
        drain.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    logger.info("worker started", extra={"action": "worker_started"})
    async with (
        wiring.flushed_metrics(),
        wiring.engine() as engine,
        wiring.fleet(drain) as protection,
        wiring.presence(
            activity := wiring.activity(engine, health := wiring.health(engine)), retire
        ),
        wiring.learned_facts(activity, engine),
        wiring.published_nodes(engine),
    ):
        await wiring.engine_files(engine).prepare()  # also before the warm-up's files
        async with wiring.filled_models(retire):
            preparation = wiring.preparation
            if preparation is None or await preparation.run(engine, drain):
                await wiring.worker(engine, health, protection, activity).work(drain, retire)
    logger.info("worker stopped", extra={"action": "worker_stopped"})


if __name__ == "__main__":
    main()
