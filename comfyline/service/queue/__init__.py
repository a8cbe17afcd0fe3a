"""Tickets and lanes."""
