"""The bounds of the public contract, each with its reason."""

from __future__ import annotations

# API Gateway calls a Lambda function with at most 6 MB, and may send a body base64-encoded, which
# makes 4 MiB into 5.6 MB. A longer body is answered 413. The event is JSON, where each quote and
# backslash of the body takes two bytes. A body near the limit that is full of them exceeds 6 MB,
# and the gateway refuses it itself, with a 413 or a 500 that is no problem document.
MAX_BODY_BYTES = 4 * 1024 * 1024
# One image of 4 megapixels fits the memory of a 24 GB GPU with an SDXL model.
MAX_PIXELS = 4_000_000
# The images of a batch share the GPU's memory, and all of them are lost when the attempt fails.
MAX_BATCH_SIZE = 10
# Prompts are stored with the job and returned with every read of it; no useful one is that long.
MAX_PROMPT_LENGTH = 20_000
# The metadata is stored in the job's row and returned with each job of a list.
MAX_METADATA_BYTES = 1024
# Each input is copied before the job starts; workflows have a handful of them.
MAX_INPUTS = 100
# ComfyUI accepts request bodies of at most 100 MiB.
MAX_UPLOAD_BYTES = 100 * 1024 * 1024
# The inputs of a workflow that name an upload. A post reads the metadata of each upload, and the
# worker fetches each upload before the job starts.
MAX_UPLOAD_REFERENCES = 100
# All uploads of a job together: the worker fetches them while its GPU waits, and needs the disk.
MAX_JOB_UPLOAD_BYTES = 1_000_000_000
# API Gateway ends a request after 30 s; the rest is left for the work before and after the wait.
MAX_WAIT_SECONDS = 25
# A page asks for a new token in time; a token that leaks is useless after an hour at the latest.
MIN_TOKEN_SECONDS, DEFAULT_TOKEN_SECONDS, MAX_TOKEN_SECONDS = 10, 900, 3600
# The ids of a token's jobs are counted in one item, and each write costs a unit for a kilobyte.
MAX_TOKEN_JOBS = 100
# The largest signed 64-bit integer: databases and most JSON libraries cannot store a larger one.
MAX_SEED = 2**63 - 1
# The largest integer that every JSON parser reads exactly: those of JavaScript and jq store numbers
# as doubles, and would turn a larger seed into that of another picture.
MAX_DRAWN_SEED = 2**53 - 1
# Half of the 14 days for which SQS keeps a ticket.
MAX_START_DEADLINE_SECONDS = 7 * 24 * 3600
# SQS can hide a ticket for at most 12 h after it was received, which must include the preparation.
MAX_EXECUTION_TIMEOUT_SECONDS = 6 * 3600
# One WebSocket frame of API Gateway. A client therefore never has to join frames.
MAX_MESSAGE_BYTES = 32 * 1024
# A subscription has about 80 bytes. A longer message is answered `message_too_large`.
MAX_CLIENT_MESSAGE_BYTES = 1024
# The list of subscriptions is stored in the socket's row, which must stay below 8 KB.
MAX_SUBSCRIPTIONS = 250
# A subscription to all jobs of an owner reads, marks and sends the state of so many.
MAX_FOLLOWED_JOBS = 100
# No index holds metadata, so a list that is filtered by it reads so many jobs in one call.
MAX_SEARCHED_JOBS = 1_000
# Pairs of metadata in one filter. More would not make the answer smaller in practice.
MAX_METADATA_FILTERS = 10
# A Lambda function can answer 6 MB; a phone or a script should not have to hold more than this.
MAX_RESPONSE_BYTES = 1_000_000
# A page of a list; the caller asks for fewer with `limit`.
MAX_JOBS_PER_PAGE = 100
# A worker takes up to 1 KB of the list of workers. A fleet of this size is read in one query.
MAX_WORKERS_SHOWN = 1_000
# The signed URLs of this many artifacts usually have 200 KB. With the longest names they have more,
# and then a page has fewer artifacts.
MAX_ARTIFACTS_PER_PAGE = 100
# The name of a key; with each request, API Gateway hands it to the function.
MAX_KEY_NAME = 64
# Keys that an owner has made itself, with those that have ended within a week.
MAX_OWN_KEYS = 100
# The time in which a key and the one that replaces it are both valid, and a key's lifetime.
MAX_OVERLAP_SECONDS, DEFAULT_OVERLAP_SECONDS = 30 * 24 * 3600, 24 * 3600
MIN_KEY_SECONDS, MAX_KEY_SECONDS = 60, 10 * 365 * 24 * 3600
# Groups of failures in one answer, which then has some 100 KB, and jobs that a group names. The
# most frequent groups come first.
MAX_FAILURE_GROUPS, MAX_FAILURE_SAMPLES = 200, 5
# For so many days groups of failures are kept; by default, a reader gets those of a week.
MAX_FAILURE_DAYS, DEFAULT_FAILURE_DAYS = 30, 7
# This many artifacts usually fit into MAX_MESSAGE_BYTES: a signed URL alone has up to 2 KB.
MAX_ARTIFACTS_IN_MESSAGE = 8
# One call ends so many console sessions. Each is a transaction, and API Gateway waits for 30 s.
MAX_ENDED_SESSIONS = 500
