"""Graphs of ComfyUI: their rules, the lock that names what the engine has."""
