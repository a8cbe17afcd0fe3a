"""Artifacts, uploads and models."""
