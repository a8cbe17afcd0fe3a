"""A worker without an engine, on the tables and queues of the functions under test."""

from __future__ import annotations

from datetime import timedelta

from comfyline.contract.ids import random_worker_id
from comfyline.service.jobs.claim import Terms, claim
from comfyline.service.jobs.finish import Fail, Finisher, Succeed
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.jobs.report import report_started
from comfyline.service.queue.lanes import Priority
from tests.support.gateway import Gateway


class Worker:
    """Ends one job for each call of `work`."""

    def __init__(self, gateway: Gateway) -> None:
        self.clock = gateway.clock
        self.store, self.queue = gateway.aws.jobs, gateway.aws.queue
        self.admission = gateway.wiring.intake.admission

    def work(self, *, fails: bool = False, gpu_seconds: float = 1.5) -> Job | None:
        """Run one job to its end and free its slot, as the stream would; None if there is none."""
        for priority in Priority:
            while tickets := self.queue.receive(priority, wait_seconds=0):
                (ticket,) = tickets
                terms = Terms(worker_id=random_worker_id(), lease=timedelta(seconds=60))
                work = claim(ticket, terms, store=self.store, queue=self.queue, clock=self.clock)
                if work is None:
                    continue
                job = report_started(work.job, store=self.store, clock=self.clock)
                finisher = Finisher(store=self.store, queue=self.queue, clock=self.clock)
                error = JobError(type="boom", message="it broke")
                ending = Fail(error) if fails else Succeed(cached=False, nodes_cached=0)
                ended = finisher.end(job, ticket, ending, gpu_seconds=gpu_seconds)
                self.admission.free_slot(ended)
                return ended
        return None
