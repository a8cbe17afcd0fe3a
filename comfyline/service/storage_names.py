"""The names of storage that both the code and the infrastructure use, each declared once here."""

from __future__ import annotations

# Prefixes of keys in the artifact bucket.
JOBS_PREFIX = "jobs/"  # artifacts and previews, below the job and its attempt
THUMBNAILS_FOLDER = "thumbs/"  # below the prefix of an attempt
UPLOADS_PREFIX = "uploads/"  # files that callers send for their jobs
# From the storing of an artifact to its removal by the bucket's lifecycle rule: the longest start
# deadline, the longest run, the retention, and two days to spare.
ARTIFACT_EXPIRY_DAYS = 17
# The prefix of keys in the models' bucket, which is the artifact bucket unless another is named.
# Nothing below it expires, and a worker may read nothing else of the models.
MODELS_PREFIX = "models/"

# Indexes: of the jobs table the first two, of the connections table, and of the keys table.
BY_OWNER = "by_owner"
BY_DUE = "by_due"
BY_KEY = "by_key"
BY_VOID_AT = "by_void_at"

# The value of the dimension `service` of every metric and the field `service` of every log line.
METRICS_SERVICE = "comfyline"
