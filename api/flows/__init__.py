"""Surface "flows": workflows and instances under their first names, flows and runs.

Contract: `http-api`, Surface "flows". Its clients know only VALIDATION as the errorCode of 4xx; `/_info` is that of v1.
"""

from api.flows import flows, runs
from api.routing import Operation

OPERATIONS: tuple[Operation, ...] = (*runs.OPERATIONS, *flows.OPERATIONS)
"""In the order in which the router tries their paths."""
