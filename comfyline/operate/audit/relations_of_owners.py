"""The relations of jobs and owners to slots, to the ledger, and to sockets."""

from __future__ import annotations

from typing import Any

from comfyline.adapters.aws.access.slots import slots_shard
from comfyline.adapters.aws.live.connections import connection_of
from comfyline.operate.audit.findings import Fix
from comfyline.operate.audit.relation import JOB, KEPT, POSTED, Relation, Row, job_is_as_read
from comfyline.operate.audit.source import Source, Table
from comfyline.service.access.keys import VOUCHED_PREFIX

# --- items that are read again --------------------------------------------------------------------


def _job_is_uncounted(source: Source, row: Row) -> bool:
    pk, sk = f"counted#{row['job_id']}", f"counted#{row['queued_at']:x}"
    return source.item(Table.OWNERS, pk, sk) is None


def _socket_does_not_follow(source: Source, row: Row) -> bool:
    followed, subscription = _followed(source, row)
    return subscription is not None and row["job_id"] not in followed


def _subscription_is_missing(source: Source, row: Row) -> bool:
    followed, subscription = _followed(source, row)
    return subscription is None and row["job_id"] in followed


def _followed(source: Source, row: Row) -> tuple[list[str], Any]:
    socket = source.item(Table.CONNECTIONS, f"conn#{row['socket']}", "conn")
    subscription = source.item(Table.CONNECTIONS, f"job#{row['job_id']}", f"conn#{row['socket']}")
    if socket is None or connection_of(socket).owner != row["owner"]:
        return [], None
    return socket.get("jobs", {}).get("SS", []), subscription


def _part_is_miscounted(source: Source, row: Row) -> bool:
    """A post writes slot and counter at once, so the counter must not change while slots are read.

    Another count that is wrong by the same number would be found at the next audit.
    """
    pk, owner, part = slots_shard(row["owner"])["S"], row["owner"], row["part"]
    before = source.item(Table.OWNERS, pk, f"{owner}#part#{part}")
    slots = source.query(Table.OWNERS, pk, f"{owner}#slot#")
    held = sum(slot["part"]["N"] == str(part) for slot in slots)
    after = source.item(Table.OWNERS, pk, f"{owner}#part#{part}")
    counted = int(after["n"]["N"]) if after else 0
    return before == after and counted != held


# --- the relations --------------------------------------------------------------------------------

OF_SLOTS = (
    Relation(
        kind="slot",
        subject="{owner} {job_id}",
        message="is taken for a {state} job",
        query="""SELECT t.owner AS owner, t.job_id AS job_id, t.queued_at AS queued_at,
            COALESCE(j.status, 'missing') AS state
            FROM slots t LEFT JOIN jobs j ON j.id = t.job_id WHERE NOT COALESCE(j.is_live, 0)
            AND MAX(COALESCE(j.finished_at, 0), t.queued_at) < :swept
            AND (j.id IS NULL OR j.is_live IS NOT NULL)""",
        fix=Fix.FREE_SLOT,
        target="owner job_id queued_at",
    ),
    Relation(
        kind="slot",
        subject="{owner} {job_id}",
        message="is taken by a post that has not put the job",
        query="""SELECT t.owner AS owner, t.job_id AS job_id, t.queued_at AS queued_at
            FROM slots t JOIN jobs j ON j.id = t.job_id
            WHERE j.is_live AND t.queued_at != j.queued_at AND t.queued_at < :checked""",
        fix=Fix.FREE_SLOT,
        target="owner job_id queued_at",
    ),
    Relation(
        kind="slot",
        subject="{owner} {job_id}",
        message="is taken for a job of {other}",
        query="""SELECT t.owner AS owner, t.job_id AS job_id, j.owner AS other
            FROM slots t JOIN jobs j ON j.id = t.job_id WHERE t.owner != j.owner""",
    ),
    Relation(
        kind="slot",
        subject="{owner} {job_id}",
        message="is taken for a job whose end does not free it",
        query="""SELECT t.owner AS owner, t.job_id AS job_id FROM slots t
            JOIN jobs j ON j.id = t.job_id AND j.queued_at = t.queued_at
            WHERE j.is_live AND NOT j.has_slot AND j.queued_at < :settled""",
    ),
    Relation(
        kind="slot",
        subject="{owner} {job_id}",
        message="has no slot, so its owner may exceed the cap",
        query=f"""SELECT {JOB}, j.owner AS owner FROM jobs j
            WHERE {POSTED} AND j.has_slot AND NOT EXISTS (SELECT 1 FROM slots t
            WHERE t.job_id = j.id AND t.queued_at = j.queued_at AND t.owner = j.owner)""",
        still=job_is_as_read,
    ),
    Relation(
        kind="slot",
        subject="{owner} part {part}",
        message="counts {n} slots, but holds {held}",
        query="""SELECT owner, part, SUM(n) AS n, SUM(held) AS held FROM (
            SELECT owner, part, n, 0 AS held FROM parts
            UNION ALL SELECT owner, part, 0, COUNT(*) FROM slots GROUP BY owner, part)
            GROUP BY owner, part HAVING SUM(n) != SUM(held)""",
        still=_part_is_miscounted,
    ),
    Relation(
        kind="slot",
        subject="{owner}",
        message="holds {held} slots, but its keys allow {cap}",
        query="""SELECT t.owner AS owner, COUNT(*) AS held,
            (SELECT MAX(k.cap) FROM keys k WHERE k.owner = t.owner) AS cap
            FROM slots t GROUP BY t.owner HAVING held > cap""",
    ),
)

OF_LEDGER = (
    Relation(
        kind="ledger",
        subject="{job_id}",
        message="is settled, but has no note that it was counted",
        query=f"""SELECT {JOB} FROM jobs j LEFT JOIN notes n
            ON n.job_id = j.id AND n.queued_at = j.queued_at WHERE {KEPT} AND j.is_settled
            AND j.finished_at > :counted_from AND n.job_id IS NULL""",
        still=_job_is_uncounted,
        fix=Fix.COUNT,
        target="job_id",
    ),
    Relation(
        kind="ledger",
        subject="{job_id}",
        message="was counted, but has not ended",
        query=f"""SELECT {JOB} FROM notes n JOIN jobs j
            ON j.id = n.job_id AND j.queued_at = n.queued_at WHERE j.is_live""",
        still=job_is_as_read,
    ),
    Relation(
        kind="ledger",
        subject="{job_id}",
        message="has a note with another TTL than its end gives",
        query="""SELECT j.id AS job_id FROM notes n JOIN jobs j
            ON j.id = n.job_id AND j.queued_at = n.queued_at
            WHERE ABS(n.ends_at - j.finished_at - :counted_for) > :ttl_lag""",
    ),
)

OF_SOCKETS = (
    Relation(
        kind="subscription",
        subject="{socket} {job_id}",
        message="has no socket",
        is_leftover=True,
        query="""SELECT b.socket AS socket, b.job_id AS job_id FROM subscriptions b
            LEFT JOIN sockets c ON c.id = b.socket WHERE c.id IS NULL""",
        fix=Fix.UNSUBSCRIBE,
        target="socket job_id",
    ),
    Relation(
        kind="subscription",
        subject="{socket} {job_id}",
        message="follows a job that is not there",
        is_leftover=True,
        query="""SELECT b.socket AS socket, b.job_id AS job_id FROM subscriptions b
            JOIN sockets c ON c.id = b.socket LEFT JOIN jobs j ON j.id = b.job_id
            WHERE j.id IS NULL""",
        fix=Fix.UNSUBSCRIBE,
        target="socket job_id",
    ),
    Relation(
        kind="subscription",
        subject="{socket} {job_id}",
        message="shows a job of {other} to a socket of {owner}",
        query="""SELECT b.socket AS socket, b.job_id AS job_id, c.owner AS owner, j.owner AS other
            FROM subscriptions b JOIN sockets c ON c.id = b.socket JOIN jobs j ON j.id = b.job_id
            WHERE c.owner != j.owner""",
    ),
    Relation(
        kind="subscription",
        subject="{socket} {job_id}",
        message="is not named by its socket, whose end does not remove it",
        query="""SELECT b.socket AS socket, b.job_id AS job_id, c.owner AS owner
            FROM subscriptions b JOIN sockets c ON c.id = b.socket
            LEFT JOIN follows w ON w.socket = b.socket AND w.job_id = b.job_id
            WHERE w.socket IS NULL""",
        still=_socket_does_not_follow,
    ),
    Relation(
        kind="socket",
        subject="{socket} {job_id}",
        message="names a job to which it is not subscribed",
        is_leftover=True,
        query="""SELECT w.socket AS socket, w.job_id AS job_id, c.owner AS owner FROM follows w
            JOIN sockets c ON c.id = w.socket
            LEFT JOIN subscriptions b ON b.socket = w.socket AND b.job_id = w.job_id
            WHERE b.socket IS NULL""",
        still=_subscription_is_missing,
        fix=Fix.UNSUBSCRIBE,
        target="socket job_id",
    ),
    Relation(
        kind="subscription",
        subject="{socket} {job_id}",
        message="has another TTL than its socket",
        query="""SELECT b.socket AS socket, b.job_id AS job_id FROM subscriptions b
            JOIN sockets c ON c.id = b.socket WHERE ABS(b.ends_at - c.ends_at) > :ttl_lag""",
    ),
    Relation(
        kind="socket",
        subject="{socket}",
        message="is of {owner}, but its key is of {other}",
        query="""SELECT c.id AS socket, c.owner AS owner, k.owner AS other FROM sockets c
            JOIN keys k ON k.id = c.key_id WHERE k.owner != c.owner""",
    ),
    Relation(
        kind="socket",
        subject="{socket}",
        message="was opened with the key {key_id}, which does not exist",
        # The keys of people who sign in at an issuer are in no table.
        query=f"""SELECT c.id AS socket, c.key_id AS key_id FROM sockets c
            LEFT JOIN keys k ON k.id = c.key_id WHERE k.id IS NULL AND c.ends_at < :opened
            AND c.key_id NOT LIKE '{VOUCHED_PREFIX}%'""",
    ),
)

OF_KEYS = (
    Relation(
        kind="key",
        subject="{key_id}",
        message="was made by {maker}, which cannot have made it",
        query="""SELECT k.id AS key_id, m.id AS maker FROM keys k JOIN keys m ON m.id = k.made_by
            WHERE m.owner != k.owner OR m.made_by NOT NULL""",
    ),
)
