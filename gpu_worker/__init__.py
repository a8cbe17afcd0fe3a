"""The worker: one process per GPU. It claims jobs, runs them in ComfyUI and stores their files."""
