"""The models of Comfy API v2, which Comfy's official clients speak."""
