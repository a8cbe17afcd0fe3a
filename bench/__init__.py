"""Measurements and models of the service: speed, cost, scaling."""
