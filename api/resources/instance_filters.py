"""The filters of instances as requests give them: in the query, or as a JSON object; and as cursors keep them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from api.cursors import FOREIGN
from api.errors import Invalid
from api.ids import parse_id
from api.resources.times import read_time
from projections.keys import MAX_KEY_CHARACTERS, normalised
from projections.queries.instance_filters import EVERY_INSTANCE, InstanceFilters
from projections.states import STATES
from schemas.resources import InstanceState

NO_WORKFLOW: Final = UUID(int=0)
"""The nil UUID, which no workflow has. A malformed id filters by this one, so the list is empty."""

MAX_WORKFLOWS: Final = 20
"""Workflows of one filter. Each is looked up on its own, so with many more a page would take long."""
MAX_ERROR_CHARACTERS: Final = 200
"""Of a text that errors have in them. Cursors carry it, and URLs of some proxies have few thousand characters."""

TRUE: Final = frozenset({"true", "1"})
"""What a boolean in a query may be, in any letter case; anything else is false, not an error."""
FALSE: Final = frozenset({"false", "0"})
"""What it may be else in an object."""

NAMES: Final = (
    *("workflowID", "running", "state", "key", "error"),
    *("createdAfter", "createdBefore", "terminatedAfter", "terminatedBefore"),
)
"""Of the filters, in queries and objects."""

Values = Mapping[str, Sequence[str]]
"""The values that are given for a name, `""` included; other names count for nothing."""


def filters_of_query(values: Values) -> InstanceFilters:
    """The filters that a query has. An empty value counts as none.

    Args:
        values: of the query's parameters.

    Raises:
        Invalid: a value can't be used.
    """
    given = {name: texts for name in NAMES if (texts := [text for text in values.get(name, ()) if text])}
    if not given:
        return EVERY_INSTANCE
    return InstanceFilters(
        workflow_ids=_workflow_ids(given.get("workflowID", ())),
        running=given.get("running", ("",))[0].lower() in TRUE,
        states=_states(given.get("state", ())),
        key=_key(_one("key", given)),
        error=_error(_one("error", given)),
        created_after=_time("createdAfter", given),
        created_before=_time("createdBefore", given),
        terminated_after=_time("terminatedAfter", given),
        terminated_before=_time("terminatedBefore", given),
    )


def filters_of_body(body: Any) -> InstanceFilters:
    """The filters that a JSON object has, with the names of the query's parameters; each a text or a list of texts.

    An empty value is refused, other than in a query: it is most likely a variable of a script that was not set, and
    without this filter an operation would act on far more than was meant.

    Args:
        body: the decoded object.

    Raises:
        Invalid: it is not an object, a name is unknown, or a value is empty or can't be used.
    """
    if not isinstance(body, dict):
        raise Invalid("filter: must be an object")
    given = {name: _texts(name, value) for name, value in body.items()}
    return filters_of_query(given)


def of_workflow(workflow_id: str | None, running: bool = False) -> InstanceFilters:
    """The filters of a list of v1; without a workflow's id or with `""`, it has the instances of all workflows."""
    return InstanceFilters(workflow_ids=(_workflow_id(workflow_id),) if workflow_id else (), running=running)


def _texts(name: str, value: Any) -> Sequence[str]:
    if name not in NAMES:
        raise Invalid(f"filter: there is no {name[:100]!r}; use {', '.join(NAMES)}")
    if isinstance(value, bool) and name == "running":
        return ("true",) if value else ()
    values = value if isinstance(value, list) else [value]
    if not values or any(text is None or (isinstance(text, str) and not text.strip()) for text in values):
        raise Invalid(f"filter: {name} has no value; leave it out if it is not to be a condition")
    if not all(isinstance(text, str) for text in values):
        raise Invalid(f"filter: {name} must be a string or a list of strings")
    if name == "running" and (len(values) > 1 or values[0].lower() not in TRUE | FALSE):
        raise Invalid("filter: running must be true or false")  # one that is not read would be no condition
    return values


def _workflow_ids(texts: Sequence[str]) -> tuple[UUID, ...]:
    found = sorted({_workflow_id(text) for text in texts})
    if len(found) > MAX_WORKFLOWS:
        raise Invalid(f"workflowID: must not be given more than {MAX_WORKFLOWS} times")
    return tuple(found)


def _workflow_id(text: str) -> UUID:
    return parse_id(text) or NO_WORKFLOW


def _states(texts: Sequence[str]) -> tuple[InstanceState, ...]:
    for text in texts:
        if text not in STATES:
            raise Invalid(f"state: must be one of {', '.join(STATES)}, not {text[:100]!r}")
    return tuple(state for state in STATES if state in texts)


def _one(name: str, given: dict[str, list[str]]) -> str | None:
    texts = given.get(name, ())
    if len(texts) > 1:
        raise Invalid(f"{name}: must be given once")
    return texts[0] if texts else None


def _key(text: str | None) -> str | None:
    if text is None or text.isspace():
        return None
    key = normalised(text)
    if key is None:
        raise Invalid(f"key: has more than {MAX_KEY_CHARACTERS} characters; instances have no longer keys")
    return key


def _error(text: str | None) -> str | None:
    if text is not None and len(text) > MAX_ERROR_CHARACTERS:
        raise Invalid(f"error: must have at most {MAX_ERROR_CHARACTERS} characters")
    # As it is in the read model, which holds no NUL.
    return None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _time(name: str, given: dict[str, list[str]]) -> datetime | None:
    text = _one(name, given)
    return None if text is None else read_time(name, text)


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
    """The filters that a cursor keeps.

    Raises:
        Invalid: no list has them. Whoever knows the key of cursors could ask for so many workflows that a page takes as
            long as a statement may, and all others who read wait for it; or for what Postgres does not take.
    """
    if kept.filters is not None:
        ids, key, error = kept.filters.workflow_ids, kept.filters.key or "", kept.filters.error or ""
        if len(ids) > MAX_WORKFLOWS or len(key) > MAX_KEY_CHARACTERS or len(error) > MAX_ERROR_CHARACTERS:
            raise Invalid(FOREIGN)
        if "\0" in key + error or any(at.tzinfo is not UTC for at in _times(kept.filters)):
            raise Invalid(FOREIGN)
        return kept.filters
    ids = () if kept.workflow_id is None else (kept.workflow_id,)
    return InstanceFilters(workflow_ids=ids, running=kept.running)


def _times(filters: InstanceFilters) -> list[datetime]:
    given = (filters.created_after, filters.created_before, filters.terminated_after, filters.terminated_before)
    return [at for at in given if at is not None]
