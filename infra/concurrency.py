"""How many calls at once each function may have, of those that the account allows.

Nothing here imports the CDK, so that tests can read it without starting Node.
"""

from __future__ import annotations

from infra.declarations import Function, JobsStream
from infra.deployment import Deployment
from infra.functions import FUNCTIONS

# Concurrent calls that must stay free for other functions, and for those without a reservation.
UNRESERVED = 100
# A shard's reader may occupy this share of the concurrent calls: all of them together about half.
STREAM_SHARE = 20


def reserved(row: Function, deployment: Deployment) -> int | None:
    """The calls that other functions cannot take from it, which is also the most that it gets."""
    reserves = deployment.functions.reserves and not deployment.is_local
    return row.reserved or None if reserves else None


def needed_to_reserve() -> int:
    """Lambda refuses a reservation that leaves fewer than 100 of the account's calls at once."""
    return sum(row.reserved for row in FUNCTIONS.values()) + UNRESERVED


def parallel_batches(stream: JobsStream, deployment: Deployment) -> int | None:
    """Few for an account with a low limit: a new table has four shards, each with two readers."""
    wanted = stream.parallel_batches
    return wanted and min(wanted, max(1, deployment.functions.concurrency // STREAM_SHARE))
