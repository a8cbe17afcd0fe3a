"""A burst of posts on an account that runs 10 functions at once, as a new one does, or 1,000.

What the gateway and Lambda refuse, the client repeats as the Python client does. Meanwhile the
sweeper, the scaler and settle_jobs must go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx

from comfyline.adapters.memory.access import InMemorySemaphore
from comfyline.client.retries import Retries
from comfyline.contract.ids import OwnerId
from comfyline.service.access.slots import Limits
from comfyline.service.intake.wait import WaitRoom
from comfyline.service.jobs.job import Job
from infra.concurrency import parallel_batches
from infra.declarations import JobsStream
from infra.deployment import Deployment
from infra.functions import FUNCTIONS
from tests.scale.account import Account, Gateway, TooManyCalls
from tests.scale.pace import DYNAMODB, Pace
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation
from tests.scale.stream import Delivery
from tests.scale.traffic import Load, Traffic

SHARDS = 4  # of a new table's stream
MAX_BURST = 1000  # of the gateway
CACHED = 30.0  # seconds, for which the gateway knows a key
KEYS = 50
WAITING, WAIT_SECONDS = 0.02, 25  # the share of posts that wait for their job, and how long
JOB_SECONDS = 1.0
SCALING = 0.1  # seconds of a round of the scaler
LIMITS = Limits(max_active_jobs=5_000)


def a_deployment(concurrency: int) -> Deployment:
    return Deployment.model_validate(
        {
            "stage": "burst",
            "worker": {"image": "worker"},
            "functions": {"concurrency": concurrency},
        }
    )


@dataclass
class Burst:
    """Clients that post once each, and the deployment that they meet."""

    simulation: Simulation
    deployment: Deployment
    workers: int
    posts_per_second: float
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)  # seconds until a post was accepted
    given_up: int = 0
    open: int = 0  # posts that have no final answer
    unsettled: int = 0
    known: dict[OwnerId, float] = field(default_factory=dict)  # keys, until when

    def __post_init__(self) -> None:
        simulation, deployment = self.simulation, self.deployment
        [of_settling] = [t for t in FUNCTIONS["SettleJobs"].triggers if isinstance(t, JobsStream)]
        readers = SHARDS * (parallel_batches(of_settling, deployment) or 1)
        delivery = Delivery(readers=readers)
        load = Load(
            posts_per_second=1, workers=self.workers, delivery=delivery, run_seconds=JOB_SECONDS
        )
        self.traffic = Traffic(simulation, load)
        self.account = Account(simulation, deployment)
        rate = deployment.requests_per_second
        self.gateway = Gateway(simulation, rate, min(rate, MAX_BURST))
        self.places = InMemorySemaphore()

    # --- clients ----------------------------------------------------------------------------------

    def post_all(self) -> None:
        simulation = self.simulation
        while simulation.seconds < self.seconds:
            self.open += 1
            owner = OwnerId(f"owner-{simulation.random.randrange(KEYS)}")
            simulation.spawn(partial(self.post, owner))
            simulation.sleep(simulation.random.expovariate(self.posts_per_second))

    def post(self, owner: OwnerId) -> None:
        """One post with its retries."""
        began, retries, failures = self.simulation.seconds, Retries(), 0
        key = f"intent-{self.open}-{began}"
        while (status := self.request(owner, key)) != 202:
            failures += 1
            wait = retries.wait_after_response(httpx.Response(status), failures)
            if wait is None:
                self.given_up += 1
                break
            self.simulation.sleep(wait)
        else:
            self.took.append(self.simulation.seconds - began)
        self.open -= 1

    def request(self, owner: OwnerId, key: str) -> int:
        status = self.answer(owner, key) if self.gateway.accepts() else 429
        self.statuses[status] += 1
        return status

    def answer(self, owner: OwnerId, key: str) -> int:
        try:
            if self.known.get(owner, 0) < self.simulation.seconds:
                self.account.call("AuthorizeHttp", lambda pace: pace.take("get_item", 2 * DYNAMODB))
                self.known[owner] = self.simulation.seconds + CACHED
        except TooManyCalls:
            return 500
        try:
            job = self.account.call("SubmitJob", partial(self.submit, owner, key))
        except TooManyCalls:
            return 503
        return 202 if job else 503

    def submit(self, owner: OwnerId, key: str, pace: Pace) -> Job | None:
        job = self.traffic.post(owner, LIMITS, key, pace)
        if job and self.simulation.random.random() < WAITING:
            room = WaitRoom(
                jobs=pace.of(self.traffic.store, DYNAMODB),
                places=pace.of(self.places, DYNAMODB),
                clock=self.simulation.clock,
                max_waits=self.deployment.max_waits,
                sleep=self.simulation.sleep,
            )
            room.wait(job, WAIT_SECONDS, LIMITS)
        return job

    # --- what must go on --------------------------------------------------------------------------

    def run(self) -> None:
        simulation, traffic = self.simulation, self.traffic
        traffic.stream.start(self.settle)
        for _ in range(self.workers):
            simulation.spawn(traffic.work)
        simulation.spawn(self.post_all)
        simulation.sleep(1)
        while simulation.seconds < self.seconds or self.open:
            self.start_rounds()
            simulation.sleep(5)  # more often than in reality, for more figures
        simulation.sleep(60)
        self.unsettled = len(traffic.unsettled(older_than=60))
        traffic.finish()

    def settle(self, batch: Sequence[Job]) -> None:
        self.account.call_from_stream("SettleJobs", lambda _pace: self.traffic.settle(batch))

    def start_rounds(self) -> None:
        call_later, spawn = self.account.call_later, self.simulation.spawn
        spawn(partial(call_later, "SweepJobs", lambda _pace: self.traffic.sweep()))
        spawn(partial(call_later, "ScaleWorkers", lambda pace: pace.take("scale", SCALING)))


def check(
    report: Report, load: str, burst: Burst, *, accepted: float, rounds_begin_in: float
) -> None:
    account, traffic, posts = burst.account, burst.traffic, len(burst.took) + burst.given_up
    gateway, lost = burst.statuses[429], traffic.posted - traffic.ended
    refused = sum(burst.statuses.values()) - gateway - len(burst.took)
    latest = max(max(account.waited[name]) for name in ("SweepJobs", "ScaleWorkers"))
    took = sorted(burst.took)
    report.check(
        Row(load, "posts accepted", 100 * len(took) / posts, accepted, "%", is_minimum=True),
        Row(load, "until a post is accepted, p95", took[len(took) * 95 // 100], 10, "s"),
        Row(load, "refused by the gateway, for each post", gateway / posts, 5, ""),
        Row(load, "refused by Lambda, for each post", refused / posts, 2, ""),
        Row(load, "accepted jobs that are lost", lost, 0, ""),
        Row(load, "ends not settled a minute later", burst.unsettled, 0, ""),
        Row(load, "until a round of sweeper or scaler begins", latest, rounds_begin_in, "s"),
        Row(load, "rounds dropped", account.dropped.total(), 1, ""),
    )


def test_a_new_account_refuses_a_part_of_a_burst_and_goes_on(report: Report) -> None:
    burst = Burst(Simulation(), a_deployment(10), workers=150, posts_per_second=100, seconds=30)
    burst.simulation.run(burst.run)
    load = "10 functions at once: 100 posts/s for 30 s"
    check(report, load, burst, accepted=50, rounds_begin_in=60)


def test_an_account_of_1_000_takes_what_the_gateway_lets_through(report: Report) -> None:
    burst = Burst(Simulation(), a_deployment(1000), workers=600, posts_per_second=3000, seconds=1)
    burst.simulation.run(burst.run)
    load = "1,000 functions at once: 3,000 posts/s for 1 s"
    check(report, load, burst, accepted=95, rounds_begin_in=1)
