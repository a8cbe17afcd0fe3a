"""One process per GPU, beside one ComfyUI: claims jobs, runs them, stores what they make."""
