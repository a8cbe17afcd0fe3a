"""One inconsistency each, planted in a clean deployment: a module for each subject of the data.

`plant.PLANTS` is the table: a docstring names the fault; with it are the kind and text of its
finding. Each module adds its plants when it is imported, so all are imported here.
"""

from __future__ import annotations

from tests.integration.audit.plants import (  # noqa: F401
    files,
    keys,
    ledger,
    places,
    reports,
    requests,
    rows,
    slots,
    sockets,
)
