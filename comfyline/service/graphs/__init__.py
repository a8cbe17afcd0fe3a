"""Graphs of ComfyUI: what they may contain, and the lock that pins what the engine has."""
