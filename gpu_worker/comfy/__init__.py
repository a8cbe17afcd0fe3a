"""ComfyUI as an engine. `protocol` decides and does no I/O; `http` and `socket` do the I/O."""
