"""The GPU part of an attempt: from the stored graph to the outcome of its prompt."""

from __future__ import annotations

import asyncio
import time
import uuid

from comfyline.service.graphs.graph import Graph, with_output_folder
from gpu_worker.comfy.protocol import (
    Event,
    Outcome,
    PromptPreviewed,
    PromptProgressed,
    PromptStarted,
)
from gpu_worker.phases import Phase, record, timed
from gpu_worker.previews import Previews
from gpu_worker.racing import unless
from gpu_worker.reporter import Reporter
from gpu_worker.stop import Stop, StopReason
from gpu_worker.toolbox import Toolbox

# A worker that must hurry waits this long for the engine to obey; then it ends the attempt anyway.
OBEY_SECONDS = 1.0

_PROMPT_IDS = uuid.UUID("9d6f4c5e-2f0b-4b7e-9c55-3a7f0d6e1b11")  # a namespace for uuid5


class Execution:
    """Runs one attempt's prompt once, and reports its start, progress and previews meanwhile."""

    def __init__(self, tools: Toolbox, stop: Stop, reporter: Reporter, previews: Previews) -> None:
        self.gpu_seconds = 0.0  # how long the prompt was executed; set when it leaves the engine
        self._tools, self._stop, self._reporter, self._previews = tools, stop, reporter, previews
        self._folder = reporter.job.attempt_path  # of the attempt, in the engine's directories
        self._prompt_id = str(uuid.uuid5(_PROMPT_IDS, self._folder))
        self._submitted_at = 0.0  # set when the prompt is given to the engine
        self._started_at: float | None = None  # None until ComfyUI executes the prompt
        self._timeout: asyncio.TimerHandle | None = None  # set while the execution timeout runs

    @property
    def has_started(self) -> bool:
        """Whether ComfyUI has begun to execute the prompt."""
        return self._started_at is not None

    async def run(self) -> Outcome | None:
        """Run the prompt to its end; None if a hurry left no time to learn its outcome.

        Raises:
            InputMissing, PromptRejected: the job is at fault.
            EngineUnreachable, EngineCrashLoop, EngineError, Unavailable: something else is.
        """
        try:
            graph = await self._prepared_graph()
            self._submitted_at = time.monotonic()
            running = self._tools.engine.run(
                graph,
                self._prompt_id,
                on_event=self._on_event,
                cancel=self._stop.requested,
                previews=self._reporter.job.options.wants_previews,
            )
            return await unless(self._stop.hurry, running, grace_seconds=OBEY_SECONDS)
        finally:
            self._leave_gpu()

    async def clean_up(self) -> None:
        """Remove the prompt from the engine's history, and its files from the engine's folders."""
        await self._tools.engine.forget(self._prompt_id)
        await asyncio.to_thread(self._tools.workspace.remove, self._folder)

    async def _prepared_graph(self) -> Graph:
        job = self._reporter.job
        with timed(self._tools.metrics, Phase.INPUTS):
            graph = await asyncio.to_thread(self._tools.store.graph, job)
            graph = await self._tools.inputs.place(job, graph, self._folder)
        return with_output_folder(graph, self._folder)

    def _on_event(self, event: Event) -> None:
        match event:
            case PromptStarted():
                self._start()
            case PromptProgressed(progress):
                self._reporter.progressed(progress)
            case PromptPreviewed() if self._reporter.job.options.wants_previews:
                self._previews.offer(event)

    def _start(self) -> None:
        self._started_at = time.monotonic()
        record(self._tools.metrics, Phase.QUEUED_AHEAD, self._started_at - self._submitted_at)
        self._timeout = asyncio.get_running_loop().call_later(
            self._reporter.job.execution_timeout.total_seconds(),
            self._stop.request,
            StopReason.TIMEOUT,
        )
        self._reporter.started()

    def _leave_gpu(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        if self._started_at is not None:
            self.gpu_seconds = round(time.monotonic() - self._started_at, 3)
            record(self._tools.metrics, Phase.RUN, self.gpu_seconds)
