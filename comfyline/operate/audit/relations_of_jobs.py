"""The relations of jobs to their requests, results and files."""

from __future__ import annotations

from comfyline.operate.audit.findings import Fix
from comfyline.operate.audit.relation import JOB, KEPT, POSTED, Relation, job_is_as_read
from comfyline.service.storage_names import THUMBNAILS_FOLDER

_SHOWN = "l.job_id = j.id AND l.incarnation = j.queued_at AND l.attempt = j.attempt"
_OWN_ITEM = "s.job_id = j.id AND (s.fingerprint = j.fingerprint OR s.incarnation = j.queued_at)"

OF_REQUESTS = (
    Relation(
        kind="item",
        subject="{job_id}",
        message="has no graph, so no worker can run it",
        query=f"""SELECT {JOB} FROM jobs j WHERE {POSTED} AND NOT EXISTS (SELECT 1 FROM siblings s
            WHERE s.job_id = j.id AND s.fingerprint = j.fingerprint AND s.has_graph)""",
        still=job_is_as_read,
    ),
    Relation(
        kind="item",
        subject="{job_id}",
        message="has no parameters to show",
        query=f"""SELECT {JOB} FROM jobs j WHERE ({POSTED} OR {KEPT}) AND NOT EXISTS (
            SELECT 1 FROM siblings s
            WHERE s.job_id = j.id AND s.fingerprint = j.fingerprint AND s.has_params)""",
        still=job_is_as_read,
    ),
    Relation(
        kind="item",
        subject="{job_id}",
        message="has lost its extra_pnginfo",
        query=f"""SELECT {JOB} FROM jobs j WHERE {POSTED} AND j.has_pnginfo AND NOT EXISTS (
            SELECT 1 FROM siblings s WHERE s.job_id = j.id AND s.name = 'pnginfo#' || j.fingerprint
            )""",
        still=job_is_as_read,
    ),
    Relation(
        kind="item",
        subject="{job_id} {name}",
        message="belongs to no job",
        is_leftover=True,
        query="""SELECT s.job_id AS job_id, s.name AS name, s.queued_at AS queued_at
            FROM siblings s LEFT JOIN jobs j ON j.id = s.job_id
            WHERE j.id IS NULL AND s.queued_at < :settled""",
        fix=Fix.DELETE_ITEM,
        target="job_id name queued_at",
    ),
    Relation(
        kind="item",
        subject="{job_id} {name}",
        message="belongs to an earlier job",
        is_leftover=True,
        query="""SELECT s.job_id AS job_id, s.name AS name, s.queued_at AS queued_at
            FROM siblings s JOIN jobs j ON j.id = s.job_id WHERE s.queued_at < j.queued_at
            AND s.fingerprint IS NOT j.fingerprint AND s.incarnation IS NOT j.queued_at""",
        fix=Fix.DELETE_ITEM,
        target="job_id name queued_at",
    ),
    Relation(
        kind="item",
        subject="{job_id} {name}",
        message="has another fingerprint than its job",
        query="""SELECT s.job_id AS job_id, s.name AS name FROM siblings s
            JOIN jobs j ON j.id = s.job_id WHERE s.queued_at = j.queued_at
            AND s.fingerprint IS NOT NULL AND s.fingerprint != j.fingerprint""",
    ),
    Relation(
        kind="item",
        subject="{job_id} {name}",
        message="has another TTL than its job's spans give",
        query=f"""SELECT s.job_id AS job_id, s.name AS name
            FROM siblings s JOIN jobs j ON {_OWN_ITEM}
            WHERE ABS(s.ends_at - s.queued_at - j.items_end + j.queued_at) > :ttl_lag""",
    ),
    Relation(
        kind="item",
        subject="{job_id} {name}",
        message="belongs to an attempt that no worker has claimed",
        query="""SELECT s.job_id AS job_id, s.name AS name FROM siblings s
            JOIN jobs j ON j.id = s.job_id WHERE s.incarnation > j.queued_at
            OR (s.incarnation = j.queued_at AND s.attempt NOT BETWEEN 1 AND j.attempt)""",
    ),
    Relation(
        kind="row",
        subject="{job_id}",
        message="is a retry of {retry_of}, which is of another owner",
        query="""SELECT j.id AS job_id, r.retry_of AS retry_of FROM retries r
            JOIN jobs j ON j.id = r.job_id JOIN jobs o ON o.id = r.retry_of
            WHERE o.owner != j.owner""",
    ),
    Relation(
        kind="row",
        subject="{job_id}",
        message="is a retry of {retry_of}, but its fingerprint is not that of the retry",
        query="""SELECT j.id AS job_id, r.retry_of AS retry_of FROM retries r
            JOIN jobs j ON j.id = r.job_id WHERE r.fingerprint != j.fingerprint""",
    ),
)

OF_RESULTS = (
    Relation(
        kind="artifact",
        subject="{job_id}",
        message="succeeded, but has no list of artifacts",
        query=f"""SELECT {JOB} FROM jobs j WHERE {KEPT} AND j.status = 'succeeded' AND NOT EXISTS
            (SELECT 1 FROM siblings s WHERE s.job_id = j.id AND s.incarnation = j.queued_at
            AND s.attempt = j.attempt AND s.name LIKE 'job#artifacts#%')""",
        still=job_is_as_read,
    ),
    Relation(
        kind="artifact",
        subject="{job_id}",
        message="lists {found} artifacts, but counts {stated}",
        query=f"""SELECT {JOB}, SUM(s.listed) AS found, MAX(s.total) AS stated FROM jobs j
            JOIN siblings s ON s.job_id = j.id AND s.incarnation = j.queued_at
            AND s.attempt = j.attempt WHERE {KEPT} AND j.lists_files
            GROUP BY j.id HAVING stated != found""",
        still=job_is_as_read,
    ),
    Relation(
        kind="artifact",
        subject="{key}",
        message="is listed, but not in the bucket",
        query=f"""SELECT {JOB}, l.key AS key FROM listed l JOIN jobs j ON {_SHOWN}
            LEFT JOIN files f ON f.key = l.key
            WHERE {KEPT} AND j.lists_files AND f.key IS NULL""",
        still=job_is_as_read,
    ),
    Relation(
        kind="artifact",
        subject="{key}",
        message="has {stored} bytes in the bucket, but {bytes} in the list",
        query=f"""SELECT l.key AS key, f.bytes AS stored, l.bytes AS bytes
            FROM listed l JOIN jobs j ON {_SHOWN} JOIN files f ON f.key = l.key
            WHERE {KEPT} AND j.lists_files AND f.bytes != l.bytes""",
    ),
    Relation(
        kind="file",
        subject="{key}",
        message="belongs to no job",
        is_leftover=True,
        query="""SELECT f.key AS key, f.job_id AS job_id, f.incarnation AS incarnation
            FROM files f
            LEFT JOIN jobs j ON j.id = f.job_id WHERE f.job_id IS NOT NULL
            AND f.stored_at BETWEEN :files_end AND :settled
            AND (j.id IS NULL OR f.incarnation < j.queued_at)""",
        fix=Fix.DELETE_FILE,
        target="key job_id incarnation",
    ),
    Relation(
        kind="file",
        subject="{key}",
        message="belongs to no job, and S3 should have deleted it",
        query="""SELECT f.key AS key, f.job_id AS job_id, f.incarnation AS incarnation
            FROM files f
            LEFT JOIN jobs j ON j.id = f.job_id WHERE f.job_id IS NOT NULL
            AND f.stored_at < :files_end AND (j.id IS NULL OR f.incarnation < j.queued_at)""",
        fix=Fix.DELETE_FILE,
        target="key job_id incarnation",
    ),
    Relation(
        kind="file",
        subject="{key}",
        message="belongs to an attempt that no worker has claimed",
        query="""SELECT f.key AS key FROM files f JOIN jobs j ON j.id = f.job_id
            WHERE f.stored_at < :settled AND (f.incarnation > j.queued_at
            OR (f.incarnation = j.queued_at AND f.attempt NOT BETWEEN 1 AND j.attempt))""",
    ),
    Relation(
        kind="file",
        subject="{key}",
        message="is not in the list of its ended job",
        is_leftover=True,
        query=f"""SELECT f.key AS key, f.job_id AS job_id, f.incarnation AS incarnation
            FROM files f JOIN jobs j
            ON j.id = f.job_id AND f.incarnation = j.queued_at AND f.attempt BETWEEN 1 AND j.attempt
            WHERE f.stored_at < :settled AND NOT j.is_live AND NOT (j.lists_files AND (
            (f.attempt = j.attempt AND f.key LIKE '%/{THUMBNAILS_FOLDER}%') OR EXISTS (
            SELECT 1 FROM listed l WHERE {_SHOWN} AND l.key = f.key)))""",
        fix=Fix.DELETE_FILE,
        target="key job_id incarnation",
    ),
)
