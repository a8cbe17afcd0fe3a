"""A ComfyUI simulator: a test double that answers like a real server, without a GPU.

README.md lists the parts of ComfyUI that it imitates and those that it does not, and shows how to
run it.

The conversations that were recorded with a real ComfyUI 0.33.0 (`tests/recordings`) define the
correct behaviour. `tests/contract/comfyui_sim` replays them, and compares statuses, shapes of
answers, and the kind and order of websocket messages. Where a recording and this code
differ, this code is wrong.
"""
