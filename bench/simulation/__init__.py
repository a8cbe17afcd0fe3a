"""Compares the scaler with three common scaling rules on the same simulated days of work."""
