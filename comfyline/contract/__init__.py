"""The public contract: requests, responses and messages between clients and the service."""
