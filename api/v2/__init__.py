"""Surface v2: the operations of v1 under `/v2`, and where they differ, one file per resource.

Contract: `http-api`, Surface v2. Lists are cursor pages, instances have no `statuses`, what is unknown is NOT_FOUND.
"""

from typing import Any

from msgspec.structs import replace

from api import v1
from api.routing import Operation
from api.v2 import instances, triggers, workflows

DIFFERENCES: dict[str, dict[str, Any]] = {
    **instances.DIFFERENCES,
    **workflows.DIFFERENCES,
    **triggers.DIFFERENCES,
}
"""By the operation's id in v1, the fields that differ."""


def _operation(original: Operation) -> Operation:
    return replace(
        original,
        id=f"v2{original.id[0].upper()}{original.id[1:]}",
        path=f"/v2{original.path}",
        not_found_code="NOT_FOUND",
        **DIFFERENCES.get(original.id, {}),
    )


OPERATIONS: tuple[Operation, ...] = (*map(_operation, v1.OPERATIONS), *triggers.OPERATIONS)
"""In the order in which the router tries their paths, that of v1."""
