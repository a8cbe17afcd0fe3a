"""The templates: the stacks for an account or an emulator."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the repository
