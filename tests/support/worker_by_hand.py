"""A worker without an engine, on the functions' tables and queues."""

from __future__ import annotations

from datetime import timedelta

import boto3

from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.contract.ids import random_worker_id
from comfyline.service.clock import Clock
from comfyline.service.jobs.claim import Terms, claim
from comfyline.service.jobs.finish import Fail, Finisher, Succeed
from comfyline.service.jobs.job import Job, JobError, Priority
from comfyline.service.jobs.report import report_started
from functions import _wiring, push_updates


class Worker:
    """One that does what it is told, on the functions' resources."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = _wiring.jobs("jobs")
        sqs = boto3.client("sqs")
        urls = {p: sqs.get_queue_url(QueueName=p.value)["QueueUrl"] for p in Priority}
        self.queue = SqsJobQueue(sqs, urls)

    def work(self, *, fails: bool = False, gpu_seconds: float = 1.5) -> Job | None:
        """Take one job to its end, and tell the end as the stream would."""
        for priority in Priority:
            while tickets := self.queue.receive(priority, wait_seconds=0):
                (ticket,) = tickets
                terms = Terms(worker_id=random_worker_id(), lease=timedelta(seconds=60))
                job = claim(ticket, terms, store=self.store, queue=self.queue, clock=self.clock)
                if job is None:
                    continue
                job = report_started(job, store=self.store, clock=self.clock)
                finisher = Finisher(store=self.store, queue=self.queue, clock=self.clock)
                error = JobError(type="boom", message="it broke")
                ending = Fail(error) if fails else Succeed(cached=False)
                ended = finisher.end(job, ticket, ending, gpu_seconds=gpu_seconds)
                push_updates._admission().ended(ended)
                return ended
        return None
