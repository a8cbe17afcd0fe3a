"""A ComfyUI simulator: a test double that answers like a real server, without a GPU.

README.md says what it imitates, what it does not, and how to run it.

The conversations that were recorded with a real ComfyUI 0.33.0 (`tests/recordings`) define what is
right. `tests/contract/comfyui_sim` replays them, and compares statuses, shapes of answers, and the
kind and order of websocket messages. Where a recording and this code differ, this code is wrong.
"""
