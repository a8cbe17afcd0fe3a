"""The emulator's process: `python -m localcloud.emulator_process`.

The emulator runs a function's worker script with its own interpreter. This module gives it the
launcher of the fork server in the interpreter's place, and lets its queues wake those who wait.
"""

import os
import runpy
import sys
from importlib import import_module

from localcloud.long_polls import hasten

LAUNCHER = "COMFYLINE_FUNCTION_LAUNCHER"

if __name__ == "__main__":
    sys.executable = os.environ.pop(LAUNCHER, sys.executable)
    hasten(import_module("ministack.services.sqs"))
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
