"""Make the response of GET /jobs/{id}/graph."""

from __future__ import annotations

import json

from comfyline.contract.ids import JobId
from comfyline.contract.limits import MAX_RESPONSE_BYTES
from comfyline.contract.v1.graphs import GraphView
from comfyline.service.graphs.graph import Graph


def graph_view(job_id: JobId, graph: Graph) -> GraphView:
    """The graph as plain JSON; only its size if it is too large for a response.

    Half of a surrogate pair becomes a question mark, because UTF-8 cannot express it.
    """
    text = json.dumps(graph, ensure_ascii=False).encode(errors="replace")
    is_small = len(text) <= MAX_RESPONSE_BYTES
    plain = json.loads(text, parse_constant=str) if is_small else None
    return GraphView(job_id=job_id, workflow=plain, bytes=len(text))
