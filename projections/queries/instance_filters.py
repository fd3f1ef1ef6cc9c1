"""Which instances a list, a stream or an operation on many instances is about, and the statement that finds them.

Filters become JSON and back by msgspec, with the names that requests have for them. What has a filter that this build
does not know is refused: without it, far more would pass.

A list that is only filtered by one workflow, or by what runs, is read along the index of that filter, as in v1. Others
are *searched*: the filters become streams that an index has in the order of the list (one for each workflow and state,
or the one of a key), and conditions that no index knows. About `MAX_LOOKED_AT` rows are looked at for one page at most,
so that none takes long. A page that ends for this reason says where to go on.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from projections.queries.pages import NEWEST, PageQuery, page_query
from projections.read_rows import RowPosition
from projections.states import ENDED, LIVE, STATES
from schemas.events import CANCELED
from schemas.resources import InstanceState

MAX_LOOKED_AT: Final = 2_000
"""Rows that a page looks at, in all its streams. Without it a page of something rare would read millions of rows, and
take minutes; with much less, it would take many steps. They take some milliseconds."""

LOOK_UPS: Final = 4
"""How many rows of a stream take as long as an instance that is looked up by its id, as those of a key are."""

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_LAST_ID: Final = UUID(int=2**128 - 1)
_FIRST_ID: Final = UUID(int=0)


class InstanceFilters(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"workflow_ids": "workflowID", "states": "state", "created_after": "createdAfter"}
    | {
        "created_before": "createdBefore",
        "terminated_after": "terminatedAfter",
        "terminated_before": "terminatedBefore",
    },
):
    """Instances that pass all filters. A filter that is not given lets all pass. Times are in UTC."""

    workflow_ids: tuple[UUID, ...] = ()
    """Only instances of one of these workflows."""
    running: bool = False
    """Only instances that have not ended."""
    states: tuple[InstanceState, ...] = ()
    """Only instances in one of these states."""
    key: str | None = None
    """Only instances that have this key, as `projections.keys.normalised` makes it, or this id."""
    error: str | None = None
    """Only instances that have failed, or were aborted, with an error that has this text in it. ASCII letters may be of
    another case."""
    created_after: datetime | None = None
    """Only instances that were created then or later."""
    created_before: datetime | None = None
    """Only instances that were created earlier."""
    terminated_after: datetime | None = None
    """Only instances that have ended then or later."""
    terminated_before: datetime | None = None
    """Only instances that have ended, and earlier."""

    @property
    def searched(self) -> bool:
        """Whether lists need more than the index of one workflow, or of what runs."""
        return len(self.workflow_ids) > 1 or self != InstanceFilters(
            workflow_ids=self.workflow_ids, running=self.running
        )


EVERY_INSTANCE: Final = InstanceFilters()
"""No filter at all."""


def possible_states(filters: InstanceFilters) -> Sequence[InstanceState] | None:
    """The states that instances can have which pass the filters; None if the filters say nothing about it."""
    found = set(filters.states or STATES)
    if filters.running:
        found &= set(LIVE)
    if filters.error is not None:
        # Every abort has the same error.
        found &= {"failed", "aborted"} if ascii_lower(filters.error) in CANCELED else {"failed"}
    if filters.terminated_after is not None or filters.terminated_before is not None:
        found &= set(ENDED)
    # What merely runs is told by `terminated_at`, which rows of older builds have too.
    told = found != set(STATES) and (found != set(LIVE) or set(filters.states) == set(LIVE))
    return [state for state in STATES if state in found] if told else None


def instances_query(
    filters: InstanceFilters, after: RowPosition | None, before: RowPosition | None, limit: int
) -> PageQuery:
    """The statement of a page of instances, see `pages.page_query`.

    Args:
        filters: only instances that pass them.
        after: only those behind this position.
        before: only the last `limit` in front of this position.
        limit: most rows.
    """
    if not filters.searched:
        workflow_id = filters.workflow_ids[0] if filters.workflow_ids else None
        return page_query("instances_page", after, before, limit, workflow_id=workflow_id, running=filters.running)
    return search_query("instances_page", filters, after, before, limit)


def search_query(
    name: str, filters: InstanceFilters, after: RowPosition | None, before: RowPosition | None, limit: int
) -> PageQuery:
    """The statement of a page of instances that are searched, whatever the filters.

    Args:
        name: of a file in `sql` that has `found_instances` in it.
        filters: as in `instances_query`.
        after: likewise.
        before: likewise.
        limit: likewise.
    """
    states = possible_states(filters)
    conditions: dict[str, Any] = {
        "error": None if filters.error is None else ascii_lower(filters.error),
        "ended_after": filters.terminated_after,
        "ended_before": filters.terminated_before,
    }
    keyed = filters.key is not None
    of_instance = bool(filters.workflow_ids) or states is not None or filters.running
    looked_up = any(value is not None for value in conditions.values()) or (keyed and of_instance)
    streams = 1 if keyed else max(1, len(filters.workflow_ids)) * max(1, len(states or ()))
    after, before, bounds = _within(filters, after, before)
    given: dict[str, Any] = {
        **conditions,
        **bounds,
        "searched": True,
        "scan": max(MAX_LOOKED_AT // (LOOK_UPS if keyed else streams) if looked_up else 0, limit + 2),
        "key": filters.key,
        "own_id": own_id(filters.key),
        "looked_up": keyed and looked_up,
        "workflow_ids": list(filters.workflow_ids) or None,
        "by_workflow": bool(filters.workflow_ids) and not keyed,
        "key_workflow": bool(filters.workflow_ids) and keyed,
        "states": states,
        "by_state": states is not None and not keyed,
        "key_state": states is not None and keyed,
        "running": filters.running and states is None and not keyed,
        "key_running": filters.running and states is None and keyed,
    }
    return page_query(name, after, before, limit, **given)


def _within(
    filters: InstanceFilters, after: RowPosition | None, before: RowPosition | None
) -> tuple[RowPosition | None, RowPosition | None, dict[str, datetime]]:
    """The times of creation as a position that reading begins at, and a bound where it ends."""
    oldest = filters.created_after
    # What has ended by then was created before.
    newest = min((at for at in (filters.created_before, filters.terminated_before) if at is not None), default=None)
    if before is None:
        if newest is not None:
            after = min(after or NEWEST, RowPosition(newest, _FIRST_ID))
        return after, None, {} if oldest is None else {"oldest": oldest}
    if oldest is not None and oldest > datetime.min.replace(tzinfo=UTC):
        before = max(before, RowPosition(oldest - timedelta(microseconds=1), _LAST_ID))
    return None, before, {} if newest is None else {"newest": newest}


def own_id(key: str | None) -> UUID | None:
    """The id of the instance that a key may be."""
    return UUID(key) if key is not None and _ID.fullmatch(key) else None


def ascii_lower(text: str) -> str:
    """The text with its ASCII letters in lower case, as `lower` makes it in Postgres' locale C."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
