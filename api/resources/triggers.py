"""Triggers and their occurrences: create, read, list, delete (contract: `triggers-and-events`, Trigger resource)."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from api.authors import Author
from api.cursors import Cursor
from api.errors import Fault, NotFound
from api.ids import parse_id
from api.ports import OccurrenceRow, Slice, TriggerRow
from api.resources.accepting import accept, command_deadline, shown
from api.resources.idempotency import keyed_request, made_before
from api.resources.pages import PageOf, read_page
from api.resources.trigger_bodies import check_expressions, read_trigger
from api.resources.workflows import startable
from api.services import Services
from schemas.commands import CreateTrigger, DeleteTrigger


async def create_trigger(services: Services, body: Any, key: str | None, author: Author) -> TriggerRow:
    """Create a trigger.

    Args:
        services: the outside world.
        body: the decoded body; None without a body.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.

    Raises:
        Invalid: the body is not a trigger, an expression does not compile, or the key was used with another body.
        NotFound: the workflow does not exist or is deleted.
    """
    new = read_trigger(body)
    keyed = keyed_request(key, "trigger", "", body)
    deadline = command_deadline(services)
    made = await made_before(keyed, services.read_model.trigger)
    if made is not None:
        return made
    await check_expressions(new)
    workflow_id = await _startable(services, new.workflow_id)
    trigger_id = keyed.id if keyed else services.new_id()
    command = CreateTrigger(
        name=new.name,
        event=new.event,
        version=new.version,
        workflow_id=workflow_id,
        filter=new.filter,
        vars=new.vars,
        request_digest=keyed.digest if keyed else None,
        by=author.by,
        reason=author.reason,
    )
    await accept(services, trigger_id, command, deadline)
    row = await shown(services.read_model.trigger(trigger_id))
    if row is None:
        raise Fault("the trigger is missing after its creation")
    return row


async def _startable(services: Services, workflow_id: str) -> str:
    """The id of a workflow that can be started."""
    parsed = parse_id(workflow_id)
    row = None if parsed is None else await services.read_model.workflow(parsed)
    return str(startable(row, workflow_id).id)


async def get_trigger(services: Services, trigger_id: str) -> TriggerRow:
    """A trigger.

    Raises:
        NotFound: no trigger has this id, or it was deleted.
    """
    parsed = parse_id(trigger_id)
    row = None if parsed is None else await services.read_model.trigger(parsed)
    if row is None or row.deleted_at is not None:
        raise NotFound(f"trigger {trigger_id!r} not found")
    return row


async def delete_trigger(services: Services, trigger_id: str, author: Author) -> None:
    """Delete a trigger; its occurrences stay.

    Args:
        services: the outside world.
        trigger_id: from the path.
        author: who wants it, and why.

    Raises:
        NotFound: no trigger has this id, or it was deleted before.
    """
    row = await get_trigger(services, trigger_id)
    command = DeleteTrigger(by=author.by, reason=author.reason)
    await accept(services, row.id, command, command_deadline(services))


def list_triggers(services: Services, name: str, max_rows: int | None = None) -> AsyncIterator[Slice[TriggerRow]]:
    """The triggers that are not deleted in chunks, newest first.

    Args:
        services: the outside world.
        name: only those whose name contains it, ignoring case.
        max_rows: only the first ones; None for all.
    """
    return services.read_model.triggers(name, max_rows)


async def page_of_triggers(services: Services, cursor: Cursor[str]) -> PageOf[TriggerRow]:
    """A page of the triggers that are not deleted and whose name contains the cursor's filter, ignoring case."""
    return await read_page(cursor, partial(services.read_model.triggers_page, cursor.filters))


def list_occurrences(services: Services, trigger_id: str) -> AsyncIterator[Slice[OccurrenceRow]]:
    """All occurrences of a trigger in chunks, newest first; also of a deleted one, and none of an unknown one."""
    parsed = parse_id(trigger_id)
    return _nothing() if parsed is None else services.read_model.occurrences(parsed)


async def _nothing() -> AsyncIterator[Slice[OccurrenceRow]]:
    yield Slice([])


async def page_of_occurrences(services: Services, trigger_id: str, cursor: Cursor[None]) -> PageOf[OccurrenceRow]:
    """A page of a trigger's occurrences; an empty one when the trigger is unknown."""
    parsed = parse_id(trigger_id)
    if parsed is None:
        return PageOf(rows=[], size=cursor.page_size, backwards=None, forwards=None)
    return await read_page(cursor, partial(services.read_model.occurrences_page, parsed))
