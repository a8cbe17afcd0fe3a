"""API v1: requests become commands, records become responses, changes become messages."""
