"""Comfy API v2: requests become commands, records become answers of Comfy's contract."""
