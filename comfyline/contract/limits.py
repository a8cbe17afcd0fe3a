"""The bounds of the public contract, each with its reason."""

from __future__ import annotations

MAX_BODY_BYTES = 4 * 1024 * 1024  # below the 6 MB that a Lambda may be called with
MAX_PIXELS = 4_000_000  # one image of 4 MP fits a 24 GB GPU with SDXL
MAX_BATCH_SIZE = 10
MAX_PROMPT_LENGTH = 20_000
MAX_METADATA_BYTES = 1024  # listed with each job, so it must stay small
MAX_INPUTS = 100
MAX_UPLOAD_BYTES = 100 * 1024 * 1024  # ComfyUI's own limit of a body
MAX_WAIT_SECONDS = 25  # the gateway gives up after 30
MAX_SEED = 2**63 - 1
MAX_START_DEADLINE_SECONDS = 7 * 24 * 3600  # half of a ticket's life in the queue
MAX_EXECUTION_TIMEOUT_SECONDS = 6 * 3600  # below the 12 h that a ticket can stay hidden
MAX_MESSAGE_BYTES = 32 * 1024  # API Gateway's frame
MAX_CLIENT_MESSAGE_BYTES = 1024  # a subscription has some 80 bytes
MAX_SUBSCRIPTIONS = 250  # of one socket; their list is kept in its row, which stays below 8 KB
MAX_ARTIFACTS_IN_MESSAGE = 8
