"""What an operator sees of owners, keys and failures, as responses."""

from __future__ import annotations

from collections.abc import Sequence

from comfyline.contract.limits import MAX_FAILURE_GROUPS
from comfyline.contract.texts import clean
from comfyline.contract.v1 import failures as views
from comfyline.service.ledger.failures import FailureGroup


def failure_list(groups: Sequence[FailureGroup], days: int) -> views.FailureList:
    """The most frequent groups. Texts of nodes are safe to print in a terminal."""
    return views.FailureList(
        days=days,
        jobs=sum(group.jobs for group in groups),
        groups_total=len(groups),
        groups=[_group_view(group) for group in groups[:MAX_FAILURE_GROUPS]],
    )


def _group_view(group: FailureGroup) -> views.FailureGroupView:
    kind, samples = group.kind, group.samples
    return views.FailureGroupView(
        type=clean(kind.type),
        node_type=clean(kind.node_type) or None,
        engine_version=clean(kind.engine) or None,
        jobs=group.jobs,
        first_at=group.first_at,
        last_at=group.last_at,
        samples=[views.FailureSample(job_id=job_id, owner=owner) for job_id, owner in samples],
    )
