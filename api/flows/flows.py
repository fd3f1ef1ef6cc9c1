"""`/flows`: what `/workflows` is in v1."""

from typing import Final

from msgspec.structs import replace

from api.routing import Operation
from api.v1 import workflows

_IDS: Final = {"createWorkflow": "createFlow", "listWorkflows": "listFlows", "getWorkflow": "getFlow"}

OPERATIONS: tuple[Operation, ...] = tuple(
    replace(original, id=_IDS[original.id], path=original.path.replace("/workflows", "/flows"))
    for original in workflows.OPERATIONS
    if original.id in _IDS
)
"""The operations of v1 that this surface has. Deletion came later."""
