"""Files: artifacts, uploads and models."""
