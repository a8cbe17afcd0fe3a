"""The scaler as it is deployed, and three usual ways to size a fleet, each with its settings."""

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
from infra.deployment import Scaling

Rounds = Callable[[int], object]
OURS = "scaler"
USUAL = ("step alarms", "queue delay", "always on")
# GPU time of a usual job, as an operator would set it for these days.
JOB_SECONDS = 30
DEFAULT = (Scaling().target_wait_seconds, Scaling().quiet_seconds)
# target_wait_seconds and quiet_seconds.
SETTINGS = ((15, 600), (60, 180), DEFAULT, (120, 600), (300, 180), (900, 60))


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to size a fleet: `make` binds it to a service of at most so many workers."""

    name: str
    setting: str
    make: Callable[[Service, int], Rounds]
    wakes: bool = False
    is_default: bool = False


def policies() -> Iterator[Policy]:
    """Each policy in several settings, from eager to thrifty."""
    for wait, quiet in SETTINGS:
        setting = f"wait {wait} s, quiet {quiet} s"
        default = (wait, quiet) == DEFAULT
        yield Policy(OURS, setting, scaler(wait, quiet), wakes=True, is_default=default)
    for jobs, low in ((1, 15), (1, 3), (4, 3), (16, 3)):
        yield Policy(USUAL[0], f"{jobs} jobs a worker, {low} low", step_alarms(jobs, low))
    for delay, low in ((30, 15), (30, 3), (120, 3), (480, 15)):
        yield Policy(USUAL[1], f"{delay} s, {low} low", queue_delay(delay, low))
    for share in (0.25, 0.5, 1.0):
        yield Policy(USUAL[2], f"{share:.0%} of the fleet", always_on(share))


def scaler(wait: int, quiet: int) -> Callable[[Service, int], Rounds]:
    """What functions/scale_workers runs, with those settings."""

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
            memory=InMemoryScalingMemory(),
            policy=policy,
            clock=service,
        ).scale

    return make


class _Late:
    """A value as CloudWatch has it: the one of some minutes ago."""

    def __init__(self) -> None:
        self._values = deque([0.0] * figures()["metrics"]["late_minutes"])

    def __call__(self, value: float) -> float:
        self._values.append(value)
        return self._values.popleft()


class _Low:
    """Lets a number fall only after so many minutes of being less, and then to the most of them."""

    def __init__(self, minutes: int) -> None:
        self._recent: deque[int] = deque(maxlen=minutes)

    def __call__(self, wanted: int, now: int) -> int:
        self._recent.append(wanted)
        full = len(self._recent) == self._recent.maxlen
        return max(wanted, max(self._recent) if full else now)


def step_alarms(jobs: int, low: int) -> Callable[[Service, int], Rounds]:
    """Alarms on visible + in flight jobs that set exact capacities: 1, 2, 5, 10 ... workers."""

    def make(service: Service, most: int) -> Rounds:
        late, calm = _Late(), _Low(low)
        steps = [0, *(n * 10**power for power in range(5) for n in (1, 2, 5))]

        def scale(_arrived: int) -> None:
            depths = service.depths()
            backlog = late(depths.waiting + depths.in_flight)
            wanted = next(step for step in steps if step * jobs >= backlog or step >= most)
            service.resize(calm(min(wanted, most), service.size().desired))

        return scale

    return make


def queue_delay(seconds: int, low: int) -> Callable[[Service, int], Rounds]:
    """As many more as the oldest job has waited longer than that; idle ones go after a while.

    From nothing one worker starts with the first job; at most twice as many a minute.
    """

    def make(service: Service, most: int) -> Rounds:
        age, jobs, calm = _Late(), _Late(), _Low(low)

        def scale(_arrived: int) -> None:
            depths, now = service.depths(), service.size().desired
            waited = age(service.waited())
            work = ceil(jobs(depths.waiting + depths.in_flight))
            over = min(2.0, waited / seconds)
            wanted = ceil(max(now, 1) * over) if over > 1 else min(now, work)
            service.resize(calm(min(max(wanted, min(work, 1)), most), now))

        return scale

    return make


def always_on(share: float) -> Callable[[Service, int], Rounds]:
    """A fixed number."""

    def make(service: Service, most: int) -> Rounds:
        return lambda _arrived: service.resize(max(1, ceil(share * most)))

    return make
