"""`python -m gpu_worker.fetch_models`: fill the models folder, without an engine and without jobs.

An instance runs it before it is stopped and waits in the warm pool. The worker that starts there
later finds the models of its lock, checked and on the disk.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers

from comfyline.adapters.aws.files.models import S3ModelStore, models_config
from comfyline.adapters.aws.metrics import EmfMetrics
from comfyline.service.graphs.lock import EngineLock
from comfyline.service.log_lines import log_line
from comfyline.service.settings import ModelsSettings
from gpu_worker.models.folder import CONNECTIONS, ModelFolder

NO_NAMESPACE = ""  # nothing reads metrics of an instance that runs no job


def main() -> None:
    """Fetch the models of the lock; returns once they are written to the disk.

    Raises:
        ModelsUnusable: one of them cannot be had; the message says which and why.
    """
    logger = Logger(service="fetch_models", json_serializer=log_line)
    copy_config_to_registered_loggers(source_logger=logger, include={"comfyline", "gpu_worker"})
    settings = ModelsSettings.from_environment(os.environ)
    lock = EngineLock.parse(Path(settings.engine_lock).read_text(encoding="utf-8"))
    store = S3ModelStore(
        boto3.client("s3", config=models_config(CONNECTIONS)), settings.models_bucket
    )
    folder = ModelFolder(store, Path(settings.models_directory), EmfMetrics(NO_NAMESPACE))
    asyncio.run(folder.fill(lock.models, asyncio.Event()))
    folder.flush()
    os.sync()  # the names of the files too: the instance is stopped next


if __name__ == "__main__":
    main()
