"""Surface v1: one file per resource, with its handlers and its operations (contract: `http-api`, Surface v1)."""

from api.routing import Operation
from api.v1 import histories, info, instances, triggers, workflows

OPERATIONS: tuple[Operation, ...] = (
    *instances.OPERATIONS,
    *workflows.OPERATIONS,
    *histories.OPERATIONS,
    *triggers.OPERATIONS,
    *info.OPERATIONS,
)
"""In the order in which the router tries their paths: the ones that are called most come first."""
