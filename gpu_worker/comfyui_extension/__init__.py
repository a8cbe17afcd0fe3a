"""An extension of ComfyUI, which the image puts into its folder `custom_nodes`. It has no nodes.

ComfyUI logs the message of each node that fails. Its log cannot encode half of a surrogate pair.
Python then prints the error of the log, with the same message, to the same log. That raises again
and ends the thread that executes prompts. The server still answers and shows the prompt as running,
so only the silence shows the fault, and it would cost the GPU 15 minutes. With this switch, which
Python recommends for production, a line that cannot be logged is left out.
"""

from __future__ import annotations

import logging

logging.raiseExceptions = False

NODE_CLASS_MAPPINGS: dict[str, object] = {}  # ComfyUI skips an extension without it
