"""Implementations of the service's ports."""
