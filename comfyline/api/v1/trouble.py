"""Make the responses about dead letters and alarms. Texts of messages are cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from comfyline.contract.texts import clean
from comfyline.contract.v1 import trouble
from comfyline.contract.v1.fleet import QueueDepth
from comfyline.service.admin.alarms import Alarm, AlarmState
from comfyline.service.admin.dead_letters import REDRIVEN_AT_ONCE, SeenLetters
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.redrive import OF_NO_LIVE_JOB, OUT_OF_REACH, SENT_AGAIN
from comfyline.service.queue.tickets import DeadLetter

_ORDER = (AlarmState.RAISED, AlarmState.UNKNOWN, AlarmState.OK)


def dead_letter_list(seen: SeenLetters) -> trouble.DeadLetterList:
    """The tickets that were looked at."""
    return trouble.DeadLetterList(
        dead_letters=[_dead_letter(letter, job) for letter, job in seen.letters],
        depth=QueueDepth(**asdict(seen.depths)),
    )


def _dead_letter(letter: DeadLetter, job: Job | None) -> trouble.DeadLetterView:
    return trouble.DeadLetterView(
        message_id=clean(letter.id),
        job_id=letter.job_id,
        text=clean(letter.text) or None,
        sent_at=letter.sent_at,
        received=letter.received,
        owner=None if job is None else clean(job.owner),
        status=None if job is None else job.shown_status,
    )


def redrive_answer(done: Counter[str]) -> trouble.RedriveAnswer:
    """What a call has done."""
    return trouble.RedriveAnswer(
        sent_again=done[SENT_AGAIN],
        of_no_live_job=done[OF_NO_LIVE_JOB],
        out_of_reach=done[OUT_OF_REACH],
        more=done.total() >= REDRIVEN_AT_ONCE,
    )


def alarm_list(alarms: Sequence[Alarm] | None, stage: str) -> trouble.AlarmList:
    """The alarms; None if the deployment has none."""
    ordered = sorted(alarms or (), key=lambda each: (_ORDER.index(each.state), each.name))
    return trouble.AlarmList(
        stage=stage, watched=alarms is not None, alarms=[_alarm(each) for each in ordered]
    )


def _alarm(alarm: Alarm) -> trouble.AlarmView:
    return trouble.AlarmView(
        name=clean(alarm.name),
        description=clean(alarm.description),
        state=alarm.state.value,
        since=alarm.since,
    )
