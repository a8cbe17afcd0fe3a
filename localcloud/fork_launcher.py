"""What the emulator starts as the process of a function: `fork_launcher <folder> <worker script>`.

It asks the fork server in `folder` for a ready-made process that takes over this one's input and
output, and lives exactly as long as that process. Without a fork server it becomes a usual
interpreter. Each start runs this script, so it imports as little as possible, and nothing of ours.
"""

import os
import socket
import sys

SOCKET = "fork_server.socket"
# A message of the request: script, working folder, and environment variables.
SEPARATOR = b"\0"


def main(folder: str, script: str) -> None:
    """Have a process forked, and wait for its end."""
    working_folder = os.getcwd()  # noqa: PTH109 - an import of pathlib doubles the time
    variables = [name + b"=" + value for name, value in os.environb.items()]
    request = SEPARATOR.join([os.fsencode(script), os.fsencode(working_folder), *variables])
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.chdir(folder)  # the address of a socket has at most 107 bytes
        connection.connect(SOCKET)
        socket.send_fds(connection, [request], [0, 1, 2])
    except OSError:
        os.chdir(working_folder)
        os.execv(sys.executable, [sys.executable, script])
    # The emulator holds the other ends of these. It must see them closed when the process ends.
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    connection.recv(1)  # returns when the process has ended, and with it its end of the connection


if __name__ == "__main__":
    main(*sys.argv[1:])
