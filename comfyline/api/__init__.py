"""Translation between the public contract and the service."""
