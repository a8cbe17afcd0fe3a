"""Runs the whole service on this machine: an emulator gets the templates that AWS would get.

Nothing here is shipped, and nothing here imports the job code. Programs are named by module, as a
container names its command. Routes, permissions and environment variables come from the synthesised
templates.
"""
