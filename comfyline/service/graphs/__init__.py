"""Graphs of ComfyUI, and the lock that pins the engine and its models."""
