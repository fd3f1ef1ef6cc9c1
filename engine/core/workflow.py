"""The workflow aggregate: a definition that can be created once and deleted."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from engine.core.errors import IllegalTransition
from engine.core.requests import check_same_request
from schemas.commands import CreateWorkflow, DeleteWorkflow
from schemas.events import WorkflowCreated, WorkflowDeleted, WorkflowEvent


class Workflow(Struct, frozen=True, kw_only=True):
    """State of one workflow. The definition itself travels with each run command, so it is not kept here."""

    id: str
    version: int
    request_digest: str | None = None
    deleted: bool = False


def decide(state: Workflow | None, command: CreateWorkflow | DeleteWorkflow, now: datetime) -> list[WorkflowEvent]:
    """The events that follow from a command; none when its effect exists already.

    Raises:
        Rejected: the Idempotency-Key was used with another body.
    """
    if isinstance(command, DeleteWorkflow):
        return [] if state is None or state.deleted else [WorkflowDeleted(at=now, by=command.by, reason=command.reason)]
    if state is None:
        return [
            WorkflowCreated(
                at=now,
                name=command.name,
                stages=command.stages,
                request_digest=command.request_digest,
                max_attempts=command.max_attempts,
                by=command.by,
                reason=command.reason,
            )
        ]
    check_same_request(state.request_digest, command.request_digest)
    return []


def evolve(state: Workflow | None, event: WorkflowEvent, workflow_id: str) -> Workflow:
    """The state after an event.

    Raises:
        IllegalTransition: the event does not follow from the state.
    """
    if isinstance(event, WorkflowCreated):
        if state is not None:
            raise IllegalTransition(f"workflow {workflow_id} was created twice")
        return Workflow(id=workflow_id, version=1, request_digest=event.request_digest)
    if state is None or state.deleted:
        raise IllegalTransition(f"workflow {workflow_id} does not exist, so it can't be deleted")
    return replace(state, version=state.version + 1, deleted=True)
