"""The command `comfyline`."""

from comfyline.client.cli.app import app

__all__ = ["app"]
