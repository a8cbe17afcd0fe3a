"""A ComfyUI simulator: a test double that answers as a real server does, without a GPU.

What it is: one asyncio process with ComfyUI's HTTP routes, its websocket and a queue, an executor
and a handful of node classes that draw pictures with Pillow in the place of a diffusion model.

What it is judged by: the conversations recorded with a real ComfyUI 0.33.0 in `tests/recordings`.
`tests/contract/comfyui_sim` replays them and compares statuses, response shapes, and the
kind and order of websocket messages. Where a recording and this code differ, this code is wrong.

What it does not do: load models, sample, expand subgraphs, run custom nodes, serve the web
frontend, or manage assets and users. Its cache is bounded by a number of results, not by memory.
Validation errors that no recording shows are kept plain. Timings are options, not measurements.

Everything under `/sim/` is NOT ComfyUI: `/sim/faults` injects faults at run time and
`/sim/executed` tells which prompts were executed (see `faults.py`).
"""
