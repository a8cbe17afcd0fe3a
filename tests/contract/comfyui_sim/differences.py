"""Differences between a recording and the simulator that are not differences of the protocol."""

from __future__ import annotations

from typing import Any


def _node(node_id: str, value: float, state: str) -> dict[str, Any]:
    names = dict.fromkeys(("node_id", "display_node_id", "real_node_id"), node_id)
    facts = {"value": value, "max": 1.0, "state": state, "prompt_id": "#0"}
    return {**facts, **names, "parent_node_id": None}


# Nodes that the recorded server had in its cache, although no message of the recording says so.
CACHED_BEFORE = {
    "no_client_id_progress_broadcast": ["1", "2", "3", "4"],
    "no_websocket_client": ["1", "2", "3"],
}
# The recorded process ended before it had sent its last messages. The simulator sends them, so that
# the last `executing` names the node that ended the process. A real server does so too if the node
# works for a while before it ends the process.
LAST_WORDS: dict[str, list[Any]] = {
    "server_dies_inside_a_node": [
        {
            "type": "progress_state",
            "data": {
                "prompt_id": "#0",
                "nodes": {
                    "1": _node("1", 1.0, "finished"),
                    "2": _node("2", 0.0, "running"),
                },
            },
        },
        {"type": "executing", "data": {"node": "2", "display_node": "2", "prompt_id": "#0"}},
    ]
}
# Facts about the earlier requests or the machine of the recorded server, not about the protocol.
SHAPE_ONLY = ("/object_info", "/system_stats", "/models")
FOREIGN_KEYS = {"jobs_api": {"total", "has_more"}}
