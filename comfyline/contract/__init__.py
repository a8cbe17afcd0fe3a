"""The public contract: what travels between clients and the service."""
