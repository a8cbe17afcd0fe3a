"""The emulator's process: `python -m localcloud.emulator_process`.

The emulator runs a function's worker script with its own interpreter. This module gives it the
launcher of the fork server in the interpreter's place.
"""

import os
import runpy
import sys

LAUNCHER = "COMFYLINE_FUNCTION_LAUNCHER"

if __name__ == "__main__":
    sys.executable = os.environ.pop(LAUNCHER, sys.executable)
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
