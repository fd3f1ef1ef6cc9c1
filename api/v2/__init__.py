"""Surface v2: the operations of v1 under `/v2`, where they differ, and what v1 does not have; one file per resource.

Contract: `http-api`, Surface v2. Lists are cursor pages, instances have no `statuses`, what is unknown is NOT_FOUND.
"""

from typing import Final

from api import v1
from api.routing import Operation
from api.v2 import (
    bulks,
    definitions,
    histories,
    instances,
    logs,
    pauses,
    retries,
    stats,
    streams,
    submissions,
    triggers,
    workflows,
)
from api.v2.differences import in_v2
from api.v2.instances import render as render_instance

__all__ = ["DIFFERENCES", "OPERATIONS", "render_instance"]

DIFFERENCES: Final = {**instances.DIFFERENCES, **histories.DIFFERENCES, **workflows.DIFFERENCES, **triggers.DIFFERENCES}
"""By the operation's id in v1."""

OPERATIONS: tuple[Operation, ...] = (
    *in_v2(v1.OPERATIONS, DIFFERENCES),
    *definitions.OPERATIONS,
    *submissions.OPERATIONS,
    *triggers.OPERATIONS,
    *pauses.OPERATIONS,
    *streams.OPERATIONS,
    *bulks.OPERATIONS,
    *stats.OPERATIONS,
    *retries.OPERATIONS,
    *logs.OPERATIONS,
)
"""In the order in which the router tries their paths, that of v1."""
