"""The adapter of an OpenID Connect issuer."""
