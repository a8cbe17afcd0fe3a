"""Simulates days of traffic with the scaler and three usual policies: cost against waiting."""
