"""The operator's commands: API keys, pause and drain, redrive, audit, check of a lock."""
