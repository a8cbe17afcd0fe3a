"""The engine's models on this machine: fetched, checked against the lock, and kept."""
