"""The deployed scaler and three usual policies to size a fleet, each in several settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

from bench.simulation.service import Service
from bench.simulation.workload import figures
from comfyline.adapters.memory.fleet import InMemoryScalingMemory
from comfyline.service.fleet.scale import Scaler
from comfyline.service.fleet.scaling import ScalingPolicy
from infra.sections.workers import Scaling

Rounds = Callable[[int], object]
OURS = "scaler"
USUAL = ("step alarms", "queue delay", "always on")
# Seconds of GPU time of a usual job, as an operator would set `scaling.job_seconds` here.
JOB_SECONDS = 30
DEFAULT = (Scaling().target_wait_seconds, Scaling().quiet_seconds)
# target_wait_seconds and quiet_seconds.
SETTINGS = ((15, 600), (60, 180), DEFAULT, (120, 600), (300, 180), (900, 60))


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to size a fleet. `make(service, max_workers)` binds it to a service.

    A policy that `wakes` also runs when a job arrives at an empty fleet.
    """

    name: str
    setting: str
    make: Callable[[Service, int], Rounds]
    wakes: bool = False
    is_default: bool = False


def policies() -> Iterator[Policy]:
    """Each policy in several settings, from fast to cheap."""
    for wait, quiet in SETTINGS:
        setting = f"wait {wait} s, quiet {quiet} s"
        default = (wait, quiet) == DEFAULT
        yield Policy(OURS, setting, scaler(wait, quiet), wakes=True, is_default=default)
    for jobs, low in ((1, 15), (1, 3), (4, 3), (16, 3)):
        setting = f"{jobs} job{'s' * (jobs > 1)} a worker, {low} low"
        yield Policy(USUAL[0], setting, step_alarms(jobs, low))
    for delay, low in ((30, 15), (30, 3), (120, 3), (480, 15)):
        yield Policy(USUAL[1], f"{delay} s, {low} low", queue_delay(delay, low))
    for share in (0.25, 0.5, 1.0):
        yield Policy(USUAL[2], f"{share:.0%} of the fleet", always_on(share))


def scaler(wait: int, quiet: int) -> Callable[[Service, int], Rounds]:
    """The use case that functions/scale_workers.py runs, with these settings."""

    def make(service: Service, most: int) -> Rounds:
        policy = ScalingPolicy(
            max_workers=most,
            job_seconds=JOB_SECONDS,
            target_wait_seconds=wait,
            boot_seconds=Scaling().boot_seconds,
            quiet_seconds=quiet,
        )
        return Scaler(
            backlog=service,
            fleet=service,
            presence=service,
            memory=InMemoryScalingMemory(),
            policy=policy,
            clock=service,
        ).scale

    return make


class _Delayed:
    """A metric as CloudWatch shows it: the value of some minutes ago."""

    def __init__(self) -> None:
        self._values = deque([0.0] * figures()["metrics"]["late_minutes"])

    def __call__(self, value: float) -> float:
        self._values.append(value)
        return self._values.popleft()


class _SlowFall:
    """Lets a number fall only after it was lower for some minutes, to the highest of these."""

    def __init__(self, minutes: int) -> None:
        self._recent: deque[int] = deque(maxlen=minutes)

    def __call__(self, wanted: int, now: int) -> int:
        self._recent.append(wanted)
        full = len(self._recent) == self._recent.maxlen
        return max(wanted, max(self._recent) if full else now)


def step_alarms(jobs: int, low: int) -> Callable[[Service, int], Rounds]:
    """Alarms on waiting and running jobs, which set exact capacities: 1, 2, 5, 10 ... workers."""

    def make(service: Service, most: int) -> Rounds:
        delayed, steady = _Delayed(), _SlowFall(low)
        steps = [0, *(n * 10**power for power in range(5) for n in (1, 2, 5))]

        def scale(_arrived: int) -> None:
            depths = service.depths()
            backlog = delayed(depths.waiting + depths.in_flight)
            wanted = next(step for step in steps if step * jobs >= backlog or step >= most)
            service.order(steady(min(wanted, most), service.desired))

        return scale

    return make


def queue_delay(seconds: int, low: int) -> Callable[[Service, int], Rounds]:
    """More workers, in proportion to the oldest job's wait over the target of `seconds`.

    The number at most doubles each minute. Idle workers are stopped after `low` minutes. An empty
    fleet starts one worker with the first job.
    """

    def make(service: Service, most: int) -> Rounds:
        age, jobs, steady = _Delayed(), _Delayed(), _SlowFall(low)

        def scale(_arrived: int) -> None:
            depths, now = service.depths(), service.desired
            waited = age(service.waited())
            work = ceil(jobs(depths.waiting + depths.in_flight))
            over = min(2.0, waited / seconds)
            wanted = ceil(max(now, 1) * over) if over > 1 else min(now, work)
            service.order(steady(min(max(wanted, min(work, 1)), most), now))

        return scale

    return make


def always_on(share: float) -> Callable[[Service, int], Rounds]:
    """A fixed number of workers."""

    def make(service: Service, most: int) -> Rounds:
        return lambda _arrived: service.order(max(1, ceil(share * most)))

    return make
