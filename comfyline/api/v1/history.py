"""Make the response of GET /jobs/{id}/events from a job's history."""

from __future__ import annotations

from dataclasses import asdict

from comfyline.api.v1.messages import status_message
from comfyline.contract.v1.history import EventList, EventView
from comfyline.service.jobs.job import Job
from comfyline.service.live.messages import StateChanged, missed_states, state_of


def event_list(job: Job, *, after: int) -> EventList:
    """The job's changes of state after version `after`, each with its WebSocket message."""
    events = [EventView(**asdict(entry)) for entry in job.history if entry.version > after]
    messages = [status_message(state) for state in _states(job, after)]
    return EventList(job_id=job.id, events=events, messages=messages)


def _states(job: Job, after: int) -> list[StateChanged]:
    states = missed_states(job, after)
    if job.history and after < job.history[-1].version == job.version:
        states.append(state_of(job))
    return states
