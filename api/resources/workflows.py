"""Workflows: create, read, list, delete (contract: `http-api`, Surface v1; `workflows`)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from api.authors import Author
from api.cursors import Cursor
from api.errors import Fault, Invalid, NotFound
from api.ids import parse_id
from api.ports import LEASE_SECONDS, Slice, WorkflowRow
from api.resources.accepting import accept, command_deadline, shown
from api.resources.idempotency import keyed_request, made_before
from api.resources.pages import PageOf, read_page
from api.services import Services
from schemas.commands import CreateWorkflow, DeleteWorkflow
from schemas.definition import InvalidDefinition, parse_definition


async def create_workflow(services: Services, body: Any, key: str | None, author: Author) -> WorkflowRow:
    """Create a workflow.

    Args:
        services: the outside world.
        body: the decoded body; None without a body.
        key: the Idempotency-Key, if there was one.
        author: who wants it, and why.

    Raises:
        Invalid: the definition is refused, or the key was used with another body.
    """
    try:
        definition = parse_definition(body)
    except InvalidDefinition as error:
        raise Invalid(str(error)) from None
    keyed = keyed_request(key, "workflow", "", body)
    deadline = command_deadline(services)
    made = await made_before(keyed, services.read_model.workflow)
    if made is not None:
        return made
    workflow_id = keyed.id if keyed else services.new_id()
    command = CreateWorkflow(
        name=definition.name,
        stages=definition.stages,
        request_digest=keyed.digest if keyed else None,
        max_attempts=definition.activity_max_attempts,
        by=author.by,
        reason=author.reason,
    )
    await accept(services, workflow_id, command, deadline)
    row = await shown(services.read_model.workflow(workflow_id))
    if row is None:
        raise Fault("the workflow is missing after its creation")
    return row


async def get_workflow(services: Services, workflow_id: str) -> WorkflowRow:
    """A workflow, also a deleted one.

    Raises:
        NotFound: no workflow has this id.
    """
    parsed = parse_id(workflow_id)
    row = None if parsed is None else await services.read_model.workflow(parsed)
    if row is None:
        raise no_workflow(workflow_id)
    return row


def startable(row: WorkflowRow | None, workflow_id: str) -> WorkflowRow:
    """A workflow that instances can be started of.

    Args:
        row: the workflow, if it was found.
        workflow_id: as the request names it.

    Raises:
        NotFound: it does not exist, or is deleted.
    """
    if row is None:
        raise no_workflow(workflow_id)
    if row.deleted_at is not None:  # which GET shows, so it would not be understood as not found
        raise NotFound(f"workflow {workflow_id!r} is deleted")
    return row


def no_workflow(workflow_id: str) -> NotFound:
    """The error for a workflow that does not exist."""
    return NotFound(f"workflow {workflow_id!r} not found")


def list_workflows(services: Services) -> AsyncIterator[Slice[WorkflowRow]]:
    """All workflows that are not deleted in chunks, newest first."""
    return services.read_model.workflows()


async def page_of_workflows(services: Services, cursor: Cursor[None]) -> PageOf[WorkflowRow]:
    """A page of the workflows that are not deleted."""
    return await read_page(cursor, services.read_model.workflows_page)


async def delete_workflow(services: Services, workflow_id: str, author: Author) -> None:
    """Delete a workflow; deleting a deleted one changes nothing.

    Args:
        services: the outside world.
        workflow_id: from the path.
        author: who wants it, and why.

    Raises:
        Invalid: the id is not a UUID.
        NotFound: no workflow has this id.
    """
    parsed = parse_id(workflow_id)
    if parsed is None:
        raise Invalid("the workflow's id must be a UUID")
    row = await get_workflow(services, workflow_id)
    if row.deleted_at is None:
        command = DeleteWorkflow(by=author.by, reason=author.reason)
        await accept(services, parsed, command, command_deadline(services))
    # Until then a replica may start it; also after another request's deletion, which may not be answered yet.
    await asyncio.sleep(LEASE_SECONDS)
