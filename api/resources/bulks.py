"""Bulk operations: an action on all instances that pass a filter (see `projections.bulk`)."""

import asyncio
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from api.authors import Author
from api.cursors import Cursor
from api.errors import Fault, Invalid, NotFound
from api.ids import parse_id
from api.ports import BulkRow, InstanceRow, RowPosition
from api.resources.accepting import accept, command_deadline, shown
from api.resources.idempotency import keyed_request, made_before
from api.resources.instance_filters import filters_of_body
from api.resources.pages import PageOf, read_page
from api.services import Services
from projections.queries.bulks import fits
from projections.queries.instance_filters import EVERY_INSTANCE, InstanceFilters
from schemas.bulk import ACTIONS, Action
from schemas.commands import StartBulk, StopBulk

FIELDS: Final = ("action", "filter", "all", "dryRun")
SAMPLE: Final = 10
"""Instances that a dry run shows: enough to see whether the filter means what was meant."""
MAX_COUNTED: Final = 10_000
"""Most instances that are looked at to be counted. More would keep the request, and Postgres, for seconds."""
COUNTING_SECONDS: Final = 3.0
"""How long instances are looked for to be counted. With a filter that few pass it would take minutes to look at all:
each page looks at some thousand rows (`MAX_LOOKED_AT`)."""
COUNTED_AT_ONCE: Final = 1000
"""Rows that are read at once to be counted."""


class Wanted(NamedTuple):
    """What a request asks for."""

    action: Action
    filters: InstanceFilters
    """Those of the request, without what the action can't be done with."""
    dry_run: bool


class Preview(NamedTuple):
    """What an operation would act on now."""

    matching: int
    more: bool
    """Whether there are more than were counted."""
    sample: list[InstanceRow]
    """The newest of them."""


def read_bulk(body: Any) -> Wanted:
    """What a decoded body asks for.

    Raises:
        Invalid: it is not an object, a field is wrong or unknown, or it would act on all instances without saying so.
    """
    if not isinstance(body, dict):
        raise Invalid("the body must be an object with action and filter")
    for name in body:
        if name not in FIELDS:
            raise Invalid(f"{name[:100]}: unknown field; there are {', '.join(FIELDS)}")
    action = body.get("action")
    if action not in ACTIONS:
        raise Invalid(f"action: must be one of {', '.join(ACTIONS)}")
    given = body.get("filter")
    filters = EVERY_INSTANCE if given is None else filters_of_body(given)
    dry_run, everything = (_flag(body, name) for name in ("dryRun", "all"))
    if filters == EVERY_INSTANCE and not everything:
        raise Invalid('filter: has no condition; to act on all instances, send "all": true as well')
    return Wanted(cast(Action, action), _narrowed(cast(Action, action), filters), dry_run)


def _narrowed(action: Action, filters: InstanceFilters) -> InstanceFilters:
    """The filters, without what the action can't be done with: no page has to be read for that."""
    if action != "retry":
        return replace(filters, running=True)
    return filters if filters.states else replace(filters, states=("failed", "aborted"))


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Invalid(f"{name}: must be a boolean")
    return bool(value)


async def preview(services: Services, wanted: Wanted) -> Preview:
    """What an operation would act on now: how many instances, as far as is looked, and the newest of them."""
    looked_at, count, sample, after = 0, 0, list[InstanceRow](), cast(RowPosition | None, None)
    until = asyncio.get_running_loop().time() + COUNTING_SECONDS
    while True:
        found = await services.read_model.instances_page(wanted.filters, after=after, limit=COUNTED_AT_ONCE)
        fitting = [row for row in found.rows if fits(wanted.action, row)]
        looked_at, count = looked_at + len(found.rows), count + len(fitting)
        sample += fitting[: SAMPLE - len(sample)]
        if not found.more or looked_at >= MAX_COUNTED or asyncio.get_running_loop().time() >= until:
            return Preview(count, found.more, sample)
        after = found.reached or found.rows[-1].position


async def start_bulk(services: Services, body: Any, wanted: Wanted, key: str | None, author: Author) -> BulkRow:
    """Start an operation.

    Args:
        services: the outside world.
        body: the decoded body.
        wanted: what it asks for.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.

    Raises:
        Invalid: the key was used with another body.
        Conflict: too many operations are running.
    """
    keyed = keyed_request(key, "bulk", "", body)
    deadline = command_deadline(services)
    made = await made_before(keyed, services.read_model.bulk)
    if made is not None:
        return made
    found = await preview(services, wanted)
    bulk_id = keyed.id if keyed else services.new_id()
    command = StartBulk(
        action=wanted.action,
        filter=Raw(msgspec.json.encode(wanted.filters)),
        expected=None if found.more else found.matching,
        newest_at=found.sample[0].created_at if found.sample else None,
        by=author.by,
        reason=author.reason,
        request_digest=keyed.digest if keyed else None,
    )
    await accept(services, bulk_id, command, deadline)
    row = await shown(services.read_model.bulk(bulk_id))
    if row is None:
        raise Fault("the bulk operation is missing after its start")
    return row


async def get_bulk(services: Services, bulk_id: str) -> BulkRow:
    """An operation.

    Raises:
        NotFound: no operation has this id.
    """
    parsed = parse_id(bulk_id)
    row = None if parsed is None else await services.read_model.bulk(parsed)
    if row is None:
        raise NotFound(f"bulk operation {bulk_id!r} not found")
    return row


async def page_of_bulks(services: Services, cursor: Cursor[None]) -> PageOf[BulkRow]:
    """A page of the operations."""
    return await read_page(cursor, services.read_model.bulks_page)


async def stop_bulk(services: Services, bulk_id: str, author: Author) -> BulkRow:
    """Let an operation begin no further page; one that has ended or is stopping already stays as it is.

    Args:
        services: the outside world.
        bulk_id: from the path.
        author: who wants it, and why.

    Raises:
        NotFound: no operation has this id.
    """
    row = await get_bulk(services, bulk_id)
    if row.terminated_at is None and row.stopped_at is None:
        command = StopBulk(by=author.by, reason=author.reason)
        await accept(services, row.id, command, command_deadline(services))
        stopped = await shown(services.read_model.bulk(row.id))
        row = stopped or row
    return row
