"""The contract of API v1."""
