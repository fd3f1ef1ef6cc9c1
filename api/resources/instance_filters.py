"""The filters of instances as requests give them: in the query, or as a JSON object; and as cursors keep them."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from api.errors import Invalid
from api.ids import parse_id
from projections.queries.instance_filters import InstanceFilters

NO_WORKFLOW: Final = UUID(int=0)
"""The nil UUID, which no workflow has. A malformed id filters by this one, so the list is empty."""

TRUE: Final = frozenset({"true", "1"})
"""What a boolean in a query may be, in any letter case; anything else is false, not an error."""

Values = Callable[[str], Sequence[str]]
"""The values that are given for a name, `""` included."""


def filters_of_query(values: Values) -> InstanceFilters:
    """The filters that a query has.

    Args:
        values: of the query's parameters.

    Raises:
        Invalid: a value can't be used.
    """
    running = values("running")
    return InstanceFilters(workflow_ids=_workflow_ids(values), running=bool(running) and running[0].lower() in TRUE)


def filters_of_body(body: Any) -> InstanceFilters:
    """The filters that a JSON object has, with the names of the query's parameters; each a text or a list of texts.

    Args:
        body: the decoded object.

    Raises:
        Invalid: it is not an object, a name is unknown, or a value can't be used.
    """
    if not isinstance(body, dict):
        raise Invalid("filter: must be an object")
    given = {name: _texts(name, value) for name, value in body.items()}
    return filters_of_query(lambda name: given.get(name, ()))


NAMES: Final = ("workflowID", "running")
"""Of the filters, in queries and objects."""


def of_workflow(workflow_id: str | None, running: bool = False) -> InstanceFilters:
    """The filters of a list of v1; without a workflow's id or with `""`, it has the instances of all workflows."""
    return InstanceFilters(workflow_ids=(_workflow_id(workflow_id),) if workflow_id else (), running=running)


def _texts(name: str, value: Any) -> Sequence[str]:
    if name not in NAMES:
        raise Invalid(f"filter: there is no {name[:100]!r}; use {', '.join(NAMES)}")
    if isinstance(value, bool) and name == "running":
        return ("true",) if value else ()
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in values):
        raise Invalid(f"filter: {name} must be a string or a list of strings")
    return values


def _workflow_ids(values: Values) -> tuple[UUID, ...]:
    return tuple(_workflow_id(text) for text in values("workflowID")[:1] if text)


def _workflow_id(text: str) -> UUID:
    return parse_id(text) or NO_WORKFLOW


class CursorFilters(Struct, frozen=True, array_like=True):
    """The filters of a list in its cursors.

    The first two fields are all that cursors of older builds have. `filters` is given where these don't say it all.
    """

    workflow_id: UUID | None
    running: bool
    filters: InstanceFilters | None = None


def to_cursor(filters: InstanceFilters) -> CursorFilters:
    """The filters as cursors keep them."""
    ids = filters.workflow_ids
    short = CursorFilters(ids[0] if ids else None, filters.running)
    return short if from_cursor(short) == filters else CursorFilters(None, filters.running, filters)


def from_cursor(kept: CursorFilters) -> InstanceFilters:
    """The filters that a cursor keeps."""
    if kept.filters is not None:
        return kept.filters
    ids = () if kept.workflow_id is None else (kept.workflow_id,)
    return InstanceFilters(workflow_ids=ids, running=kept.running)
