"""The GPU part of an attempt: from the stored graph to the outcome of its prompt."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.fit import LeftOut, fitted
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.result import ResultWarning
from comfyline.service.jobs.store import Work
from gpu_worker.comfy.cache_buster import with_cache_buster, with_inner_prefixes
from gpu_worker.comfy.http import EngineUnreachable
from gpu_worker.comfy.outcomes import (
    Outcome,
    PromptFailed,
    PromptInterrupted,
    PromptSucceeded,
    SentPicture,
)
from gpu_worker.comfy.outputs import Reported, reported
from gpu_worker.comfy.protocol import Event, PromptPreviewed, PromptProgressed, PromptStarted
from gpu_worker.comfy.tidy import is_tidy
from gpu_worker.engine_files import Inputs
from gpu_worker.faults import refuse_forbidden_classes
from gpu_worker.inputs import input_name, with_input_names
from gpu_worker.made import Made, everything_made, left_out_warning, lost_warning, problem_warning
from gpu_worker.phases import Phase, record, timed
from gpu_worker.previews import Previews
from gpu_worker.racing import unless
from gpu_worker.reporter import Reporter
from gpu_worker.stop import Stop, StopReason
from gpu_worker.toolbox import Toolbox
from gpu_worker.turnstile import Visit
from gpu_worker.workspace import Hold

# A worker that must hurry waits this long for the engine to obey; then it ends the attempt anyway.
OBEY_SECONDS = 1.0

CACHE_BUSTER_LENGTH = 12  # hexadecimal digits; two attempts of one graph must differ in them
_PROMPT_IDS = uuid.UUID("9d6f4c5e-2f0b-4b7e-9c55-3a7f0d6e1b11")  # a namespace for uuid5


class Execution:
    """Runs one attempt's prompt once, and reports its start, progress and previews meanwhile."""

    def __init__(
        self,
        work: Work,
        tools: Toolbox,
        stop: Stop,
        reporter: Reporter,
        previews: Previews,
        *,
        enters_engine: Callable[[], None],
    ) -> None:
        """`enters_engine` is called when the prompt is given to the engine."""
        self.gpu_seconds = 0.0  # how long the prompt was executed; set when it leaves the engine
        self.graph: Graph = {}  # as the engine gets it
        self._tools, self._stop, self._reporter, self._previews = tools, stop, reporter, previews
        self._enters_engine = enters_engine
        self._work = work
        self._prompt_id = str(uuid.uuid5(_PROMPT_IDS, reporter.job.attempt_path))
        self._pnginfo: Mapping[str, Any] = {}  # what ComfyUI writes into the pictures
        self._left_out: tuple[LeftOut, ...] = ()
        self._core_nodes: frozenset[str] = frozenset()  # ids of the nodes of ComfyUI's own classes
        self._hold: Hold | None = None  # has the files of the attempt, once there are any
        self._outcome: Outcome | None = None  # None until it is known
        self._reported = Reported()
        self._submitted_at = 0.0  # set when the prompt is given to the engine
        self._started_at: float | None = None  # None until ComfyUI executes the prompt
        self._timeout: asyncio.TimerHandle | None = None  # set while the execution timeout runs

    @property
    def has_started(self) -> bool:
        """Whether ComfyUI has begun to execute the prompt."""
        return self._started_at is not None

    async def run(self) -> Outcome | None:
        """Run the prompt to its end; None if the worker had to stop before the outcome was known.

        Afterwards its files are out of the engine's reach.

        Raises:
            InputMissing, PromptRejected: the job is at fault.
            EngineUnreachable, EngineCrashLoop, EngineError, Unavailable: something else is.
        """
        try:
            hold, inputs = await self._prepare()
            visit = Visit(self._reporter.job.principal, is_tidy(self.graph, await self._nodes()))
            entering = self._tools.turnstile.enter(visit)
            if not await unless(self._stop.requested, entering):
                return PromptInterrupted()
            outcome = await self._visit(visit, hold, inputs)
        finally:
            self._leave_gpu()
        if outcome is not None:
            self.gpu_seconds = outcome.ran_seconds
        return outcome

    def made(self) -> tuple[list[Made], list[ResultWarning]]:
        """What the prompt has made, and what of it is missing. It reads the disk."""
        if self._hold is None:
            return [], []
        held = self._hold.files()
        pictures = _pictures_of(self._outcome)
        made, missing = everything_made(self._reported, held, self.graph, pictures)
        left_out = (ResultWarning(**asdict(each)) for each in self._left_out)
        return made, [
            *left_out,
            *missing,
            *map(lost_warning, self._hold.lost),
            *_warnings_of(self._outcome),
        ]

    @property
    def is_partial(self) -> bool:
        """Whether ComfyUI has left out some outputs of the graph."""
        return isinstance(self._outcome, PromptSucceeded) and bool(self._outcome.problems)

    @property
    def values(self) -> Mapping[str, Mapping[str, Any]]:
        """The values that nodes have reported and that are no files, by node and key."""
        return self._reported.values

    async def clean_up(self) -> None:
        """Remove the prompt from the engine's history, and its files from this disk.

        A further call changes nothing.
        """
        await self._tools.engine.forget(self._prompt_id)
        hold, self._hold = self._hold, None
        if hold is not None:
            await asyncio.to_thread(hold.remove)

    async def _prepare(self) -> tuple[Hold, Inputs]:
        """Fetch the graph and its inputs, and make the graph that the engine gets."""
        job, tools = self._reporter.job, self._tools
        with timed(tools.metrics, Phase.INPUTS):
            sent = self._work.graph
            if sent is None:
                sent = await asyncio.to_thread(tools.store.graph, job)
            refuse_forbidden_classes(sent, tools.catalogue)
            pnginfo = self._work.extra_pnginfo
            if pnginfo is None:
                pnginfo = await asyncio.to_thread(tools.store.extra_pnginfo, job)
            self._pnginfo = pnginfo
            nodes = await self._nodes()
            fit = fitted(sent, nodes)
            self._left_out = fit.left_out
            self._core_nodes = frozenset(
                node_id for node_id, node in fit.graph.items() if nodes.is_core(node["class_type"])
            )
            self._hold = await tools.files.new_hold()
            uploads = await tools.inputs.fetch(job, fit.graph, self._hold)
        graph = with_input_names(fit.graph, uploads, nodes, tools.files.base)
        cache_buster = self._prompt_id.replace("-", "")[:CACHE_BUSTER_LENGTH]
        self.graph = with_cache_buster(with_inner_prefixes(graph), nodes, cache_buster)
        return self._hold, {input_name(upload, file): file for upload, file in uploads.items()}

    async def _nodes(self) -> EngineNodes:
        return await self._tools.engine.nodes.get()

    async def _visit(self, visit: Visit, hold: Hold, inputs: Inputs) -> Outcome | None:
        """Run the prompt during its stay in the engine, and take its files when it has ended."""
        files, outcome = self._tools.files, None
        brought: dict[str, Path] = {}

        async def bring() -> None:
            brought.update(inputs)
            await files.bring(inputs, visit)
            self._enters_engine()

        try:
            if not self._tools.health.allows_jobs:  # a probe uses the engine, and may restart it
                raise EngineUnreachable("the worker is being probed")
            self._outcome = outcome = await self._run_in_engine(bring)
            return outcome
        finally:
            async with self._tools.turnstile.leaving(visit) as is_last:
                self._reported = reported(
                    _outputs_of(outcome),
                    base=files.base,
                    returns_lists=self._core_nodes.__contains__,
                )
                await files.take(self._reported, brought, hold, visit, is_last=is_last)

    async def _run_in_engine(self, bring: Callable[[], Awaitable[None]]) -> Outcome | None:
        self._submitted_at = time.monotonic()
        running = self._tools.engine.run(
            self.graph,
            self._prompt_id,
            on_event=self._on_event,
            cancel=self._stop.requested,
            previews=self._reporter.job.options.wants_previews,
            extra_pnginfo=self._pnginfo,
            strict=self._reporter.job.options.strict,
            before_post=bring,  # a prompt that was given up may write files until it is gone
        )
        return await unless(self._stop.drained, running, grace_seconds=OBEY_SECONDS)

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


def _outputs_of(outcome: Outcome | None) -> Mapping[str, Any]:
    match outcome:
        case PromptSucceeded(outputs=outputs) | PromptFailed(outputs=outputs):
            return outputs
    return {}


def _pictures_of(outcome: Outcome | None) -> Sequence[SentPicture]:
    match outcome:
        case PromptSucceeded(pictures=pictures) | PromptFailed(pictures=pictures):
            return pictures
    return ()


def _warnings_of(outcome: Outcome | None) -> list[ResultWarning]:
    if not isinstance(outcome, PromptSucceeded):
        return []
    warnings = [problem_warning(problem) for problem in outcome.problems]
    return [*warnings, left_out_warning(n)] if (n := outcome.pictures_left_out) else warnings
