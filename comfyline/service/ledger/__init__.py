"""Counts of ended jobs."""
