"""A prompt from its post to its outcome: what the engine and the socket have shown of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from gpu_worker.comfy.outcomes import (
    NodeProblem,
    Outcome,
    PicturesLost,
    PromptFailed,
    PromptInterrupted,
    PromptLost,
    PromptQueuedPrompts,
    PromptSucceeded,
)
from gpu_worker.comfy.protocol import Event, HistoryWanted, PictureSent, PromptRun, PromptStarted
from gpu_worker.comfy.sent_pictures import SentPictures
from gpu_worker.comfy.watchdog import Watchdog

UNLIKELY_SECONDS = 1.0  # the wait for pictures of nodes that are not known to send any


class Followed:
    """One prompt that was posted or will be posted at once, and that has not ended."""

    def __init__(
        self,
        run: PromptRun,
        on_event: Callable[[Event], None],
        watchdog: Watchdog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.watchdog = run, watchdog
        self.pictures = SentPictures()
        self.problems: tuple[NodeProblem, ...] = ()  # of outputs that ComfyUI left out
        self.wake = asyncio.Event()  # a reason to look at the engine
        self.eager_polls = 0  # how many are left
        self.is_posted = False  # the engine may have it
        self.is_lost = False  # its engine has ended
        self.has_gap = True  # the socket was not connected all the time since the post
        self.has_queued = False  # a node of it has queued further prompts, which are removed
        self._on_event, self._clock = on_event, clock
        self._made_at = clock()
        self._started_at: float | None = None
        self._stop_asked_at: float | None = None
        self._stopped_node: str | None = None  # the node that ran when the stop was asked for
        self._heard_at = self._made_at  # when the last frame of the prompt, or its end, was seen

    # --- what comes in --------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> bool:
        """Take a frame of the socket; whether it is a reason to look at the engine."""
        frames, pending = self.run.frames, len(self.run.pending_end)
        events = self.run.receive(frame)
        if self.run.frames > frames:
            self._heard_at = self._clock()
            self.watchdog.prompt_moved()
        self._tell(events)
        is_end_wanted = any(isinstance(event, HistoryWanted) for event in events)
        return is_end_wanted or len(self.run.pending_end) < pending

    def runs_now(self) -> None:
        """The queue shows that the prompt runs. A muted socket sends no start."""
        self._tell(self.run.start())

    def stop_asked(self) -> None:
        """The prompt is to be stopped; only the first call counts."""
        if self._stop_asked_at is None:
            self._stop_asked_at, self._stopped_node = self._clock(), self.run.last_node
        if self.run.outcome is None:
            self.watchdog.cancel_requested()

    def ended(self) -> None:
        """The history shows for the first time that the prompt has ended."""
        self._heard_at = self._clock()

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PictureSent):
                self.pictures.add(event)
            if isinstance(event, PromptStarted):
                self._started_at = self._clock()
            self._on_event(event)

    # --- pictures -------------------------------------------------------------------------------

    @property
    def depends_on_socket(self) -> bool:
        """Whether the prompt's results come over the socket, so that none may be missed."""
        return self.run.sender is not None or bool(self.pictures)

    def awaits_pictures(self, patience_seconds: float) -> bool:
        """Whether pictures of a prompt that has succeeded may still come."""
        if not isinstance(self.run.outcome, PromptSucceeded) or not self.run.pending_end:
            return False
        if self.has_gap or not (self.depends_on_socket or self.run.may_send):
            return False
        patience = patience_seconds if self.depends_on_socket else UNLIKELY_SECONDS
        return self._clock() - self._heard_at < patience

    @property
    def has_lost_pictures(self) -> bool:
        """Whether the prompt has succeeded, but not all of its pictures are known to have come."""
        is_complete = not self.run.pending_end and not self.has_gap and not self.pictures.are_lost
        return self.depends_on_socket and not is_complete

    @property
    def pictures_lost(self) -> PicturesLost:
        """The outcome if pictures of a prompt do not arrive."""
        node = self.run.sender or next((each.node for each in self.pictures.kept), None)
        return PicturesLost(node_id=node, node_type=self.run.type_of(node))

    # --- the outcome ----------------------------------------------------------------------------

    def outcome(self, *, canceled: bool) -> Outcome:
        """How the prompt ended, by the known facts.

        The engine forgets a deleted prompt, and it forgets every prompt when it restarts. The two
        differ in whether the prompt was canceled.
        """
        outcome = self.run.outcome or (PromptInterrupted() if canceled else PromptLost())
        if canceled and isinstance(outcome, PromptSucceeded) and self._is_unfinished:
            outcome = PromptInterrupted()
        match outcome:
            case PromptSucceeded():
                outcome = self._of_success(outcome)
            case PromptFailed():
                outcome = replace(outcome, pictures=tuple(self.pictures.kept))
            case PromptInterrupted() | PromptLost():
                # A node that does not look at interrupts ends first, and the next one is named.
                node = self._stopped_node or self.run.last_node
                outcome = replace(outcome, node_id=node, node_type=self.run.type_of(node))
        return replace(outcome, ran_seconds=self.ran_seconds)

    @property
    def _is_unfinished(self) -> bool:
        """Whether a node has queued further prompts that are not followed."""
        return self.has_queued or self.run.unfinished_node is not None

    def _of_success(self, outcome: PromptSucceeded) -> Outcome:
        if self._is_unfinished:
            node = self.run.unfinished_node or self.run.last_node
            return PromptQueuedPrompts(node_id=node, node_type=self.run.type_of(node))
        if self.has_lost_pictures:
            return self.pictures_lost
        return replace(
            outcome,
            pictures=tuple(self.pictures.kept),
            pictures_left_out=self.pictures.left_out,
            problems=self.problems,
        )

    @property
    def ran_seconds(self) -> float:
        """How long the prompt was executed: to its end, its last sign of life, or the stop.

        ComfyUI's own timestamps are used if it sent them and they are plausible.
        """
        now = self._clock()
        if (by_engine := self.run.executed_seconds) is not None:
            seconds = min(by_engine, now - self._made_at)
        elif self._started_at is not None:
            seconds = min(now, self.watchdog.last_sign_at) - self._started_at
        else:
            return 0.0
        if self._stop_asked_at is not None and self._started_at is not None:
            seconds = min(seconds, self._stop_asked_at - self._started_at)
        return round(max(0.0, seconds), 3)


class FollowedPrompts(dict[str, Followed]):
    """The prompts that are followed now, by id; the oldest is the first."""

    @property
    def running(self) -> int:
        """How many have started and not ended."""
        runs = [followed.run for followed in self.values()]
        return sum(run.started and run.outcome is None for run in runs)

    def socket_opened(self) -> None:
        """A new socket is connected. ComfyUI repeats no message, so an end may have been missed."""
        for followed in self.values():
            followed.has_gap = followed.has_gap or bool(followed.run.pending_end)
            followed.wake.set()

    def note_culprit(self) -> None:
        """The oldest prompt was running, even if the engine ended before it could tell so."""
        inside = (each for each in self.values() if each.is_posted)
        first = next((each for each in inside if each.run.outcome is None), None)
        if first is not None:
            first.runs_now()

    def lose(self) -> None:
        """The engine has ended, and all prompts with it."""
        for followed in self.values():
            followed.is_lost = True
            followed.wake.set()
