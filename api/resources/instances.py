"""Instances: run a workflow, read, list (contract: `http-api`, Surface v1)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from api.authors import Author
from api.cursors import Cursor
from api.errors import Fault, Invalid, NotFound
from api.ids import parse_id
from api.ports import DeletedInstance, InstanceFilters, InstanceRow, RowPosition, Slice, WorkflowRow
from api.resources.accepting import accept, command_deadline, shown
from api.resources.idempotency import KeyedRequest, keyed_request
from api.resources.instance_filters import CursorFilters, from_cursor
from api.resources.pages import Fetch, PageOf, read_page
from api.resources.workflows import no_workflow, startable
from api.services import Services
from projections.acts import acts_of, line_of
from projections.queries.errors import ReadModelUnavailable
from schemas.commands import RunWorkflow

MAX_STEPS: Final = 10
"""How often a page reads on to find rare instances. With more, a request would take long; with one, clients would turn
many empty pages. Between two steps others have their turn."""

UNWATCHED_SECONDS: Final = 1.0
"""How long an end is waited for without a look at the client. Most come sooner, and to watch costs two tasks."""

Watch: TypeAlias = Callable[[Coroutine[Any, Any, object]], Awaitable[object]]
"""Waits for something as long as the client is there; else raises `ClientGone`."""


async def run_workflow(services: Services, workflow_id: str, body: Any, key: str | None, author: Author) -> InstanceRow:
    """Start an instance.

    Args:
        services: the outside world.
        workflow_id: from the path.
        body: the decoded body; None without a body.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.

    Raises:
        Invalid: a variable is not a string, the key was used with another body, or what it has started is deleted.
        NotFound: the workflow does not exist or is deleted.
    """
    variables = read_variables(body)
    deadline = command_deadline(services)
    workflow = parse_id(workflow_id)
    if workflow is None:
        raise no_workflow(workflow_id)
    keyed = keyed_request(key, "instance", str(workflow), variables)
    if keyed is None:
        definition = startable(await services.read_model.leased_workflow(workflow), workflow_id)
        return await _start_new(services, definition, variables, author, deadline)
    return await _start_once(services, keyed, workflow, variables, author, deadline)


def read_variables(body: Any) -> dict[str, str]:
    """The variables that a body holds: none when it is absent or null; a null value is `""`.

    Raises:
        Invalid: the body is not an object, or a value is not a string.
    """
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Invalid("the body must be an object of variables")
    for name, value in body.items():
        if not isinstance(value, str):
            if value is not None:
                raise Invalid(f"variable {name[:100]!r} must be a string{_hint(value)}")
            body[name] = ""
    return body


def _hint(value: Any) -> str:
    """What to do about a variable that is not a string."""
    if isinstance(value, dict | list):
        return ': the body itself is the object of variables, {"name": "text"}'
    # A float's digits may not be those of the body, and of a long integer nobody wants all digits.
    return f': write "{value}"' if type(value) is int and abs(value) < 10**18 else ", in quotes"


async def _start_new(
    services: Services, workflow: WorkflowRow, variables: dict[str, str], author: Author, deadline: float
) -> InstanceRow:
    """A new instance."""
    id, partition = await services.command_log.place(services.new_id(), deadline)
    command = _command(workflow, variables, author)
    with services.positions.starting(id) as starting:
        await accept(services, id, command, deadline, partition=partition, starting=starting)
    start = starting.start
    if start is None:  # too large to be announced, or the announcement was lost
        return await _started(services, id)
    return InstanceRow(
        id=id,
        workflow_id=workflow.id,
        created_at=start.created_at,
        updated_at=start.updated_at,
        terminated_at=start.terminated_at,
        error=start.error,
        workflow=workflow,
        stages=start.stages,
        variables=Raw(msgspec.json.encode(variables)),
        acts=acts_of(line_of(start.created_at, "run", author.by, author.reason)),
    )


async def _start_once(
    services: Services,
    keyed: KeyedRequest,
    workflow: UUID,
    variables: dict[str, str],
    author: Author,
    deadline: float,
) -> InstanceRow:
    """The instance of a key, started unless it exists."""
    partition = await services.command_log.partition(keyed.id, deadline)
    # First how far the read model is, then what it holds: the engine knows the events from there on.
    seen_offset = services.positions.seen_offset(partition)
    made = await services.read_model.keyed_instance(keyed.id)
    if made is not None:
        keyed.check(made.request)
    if isinstance(made, DeletedInstance):  # engines may have forgotten it: to start it again would pay twice
        raise Invalid(f"the Idempotency-Key has started instance {made.id}, which has ended and is deleted by now")
    if made is not None:
        return made
    found = await services.read_model.leased_workflow(workflow)
    command = _command(startable(found, str(workflow)), variables, author, keyed.digest, seen_offset)
    await accept(services, keyed.id, command, deadline, partition=partition)
    return await _started(services, keyed.id)


def _command(
    workflow: WorkflowRow,
    variables: dict[str, str],
    author: Author,
    request: str | None = None,
    seen_offset: int = 0,
) -> RunWorkflow:
    return RunWorkflow(
        workflow_id=str(workflow.id),
        stages=workflow.stages,
        variables=variables,
        request_digest=request,
        seen_offset=seen_offset,
        max_attempts=workflow.max_attempts,
        by=author.by,
        reason=author.reason,
    )


async def _started(services: Services, instance_id: UUID) -> InstanceRow:
    """The instance that a command has started."""
    row = await shown(services.read_model.instance(instance_id))
    if row is None:
        raise Fault("the instance is missing after its start")
    return row


async def ended(services: Services, row: InstanceRow, unless_gone: Watch) -> InstanceRow:
    """An instance after its end, or as it is when the ceiling for that is reached.

    While it can't be read, it is as it was: it has started, and whoever is told of an error might start another one.

    Args:
        services: the outside world.
        row: the instance as it was.
        unless_gone: waits for something as long as the client is there.

    Raises:
        ClientGone: the client is not there any more.
    """
    now = asyncio.get_running_loop().time()
    deadline = now + services.settings.wait_timeout_seconds
    soon = min(now + UNWATCHED_SECONDS, deadline)
    if not await services.positions.wait_ended(row.id, soon) and soon < deadline:
        await unless_gone(services.positions.wait_ended(row.id, deadline))
    with contextlib.suppress(ReadModelUnavailable):
        return await services.read_model.instance(row.id) or row
    return row


async def get_instance(services: Services, instance_id: str, workflow_id: str | None = None) -> InstanceRow:
    """An instance.

    Args:
        services: the outside world.
        instance_id: from the path.
        workflow_id: from the path, if it names one: the instance must be of this workflow.

    Raises:
        NotFound: no instance has this id.
    """
    parsed = parse_id(instance_id)
    row = None if parsed is None else await services.read_model.instance(parsed)
    if row is None or (workflow_id is not None and parse_id(workflow_id) != row.workflow_id):
        raise no_instance(instance_id)
    return row


def no_instance(instance_id: str) -> NotFound:
    """The error for an instance that does not exist."""
    return NotFound(f"instance {instance_id!r} not found")


def list_instances(services: Services, filters: InstanceFilters) -> AsyncIterator[Slice[InstanceRow]]:
    """All instances that pass the filters in chunks, newest first."""
    return services.read_model.instances(filters)


async def page_of_instances(services: Services, cursor: Cursor[CursorFilters]) -> PageOf[InstanceRow]:
    """A page of the instances that pass the cursor's filters."""
    one_step = partial(services.read_model.instances_page, from_cursor(cursor.filters))
    return await read_page(cursor, partial(_in_steps, one_step), one_step)


async def _in_steps(
    fetch: Fetch[InstanceRow], *, after: RowPosition | None = None, before: RowPosition | None = None, limit: int
) -> Slice[InstanceRow]:
    """Read on where reading stopped, until there are enough rows; `MAX_STEPS` times."""
    found = await fetch(after=after, before=before, limit=limit)
    for _ in range(MAX_STEPS - 1):
        reached, rows = found.reached, found.rows
        if reached is None or len(rows) >= limit:
            break
        if before is None:
            found = await fetch(after=reached, limit=limit - len(rows))
            found = replace(found, rows=[*rows, *found.rows])
        else:
            found = await fetch(before=reached, limit=limit - len(rows))
            found = replace(found, rows=[*found.rows, *rows])
    return found
