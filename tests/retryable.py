"""What the read model knows of an instance that has ended, told from the log alone: the command that retries it."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import RetryInstance
from schemas.ended_activities import EndedActivity


def retry_of(log: Sequence[tuple[str, Any]], key: str, **more: Any) -> RetryInstance:
    """The command that retries an instance as the whole of a log shows it.

    Args:
        log: ids of aggregates with their events.
        key: of the instance.
        more: other fields of the command.
    """
    command: RetryInstance | None = None
    for event in (event for id, event in log if id == key):
        if isinstance(event, ev.InstanceStarted):
            command = _started(event)
        if command is None:
            continue
        known = dict(command.requests)
        command = replace(command, requests=[*known.items(), *(one for one in _requests(event) if one[0] not in known)])
        if isinstance(event, ev.InstanceEvent):
            version = command.version + (not isinstance(event, ev.InstanceStarted))
            command = _after(replace(command, version=version), event)
    assert command is not None
    return replace(command, seen_offset=len(log), **more)


def _requests(event: Any) -> list[tuple[str, str]]:
    """The request with a key that has caused an event."""
    key, digest = getattr(event, "request_key", None), getattr(event, "request_digest", None)
    return [(key, digest)] if key is not None and digest is not None else []


def _started(event: ev.InstanceStarted) -> RetryInstance:
    return RetryInstance(
        workflow_id=event.workflow_id,
        stages=event.stages,
        variables=event.variables,
        run_digest=event.request_digest,
        max_attempts=event.max_attempts,
        version=1,
        ended_at=event.at,
        stage=0,
    )


def _after(command: RetryInstance, event: Any) -> RetryInstance:
    activities = command.activities
    match event:
        case ev.InstanceRetried():
            kept = activities[: len(event.kept)]
            return replace(command, retries=event.retries, activities=kept, stage=event.stage)
        case ev.StageStarted() if event.number != command.stage:
            return replace(command, stage=event.number, activities=[])
        case ev.StageEnded() if event.error is None:
            return replace(command, stage=event.number + 1, activities=[])
        case ev.ActivityStarted():
            started = EndedActivity(
                name=event.name, input=event.input, key_number=event.key_number, key_used=event.key_used
            )
            return replace(command, activities=[*activities, started])
        case ev.ActivityFailed() | ev.ActivityPaused():
            last = replace(activities[-1], key_used=True)
            return replace(command, activities=[*activities[:-1], last])
        case ev.ActivityEnded():
            last = replace(activities[-1], output=event.output, error=event.error, code=event.code)
            return replace(command, activities=[*activities[:-1], last])
        case ev.InstanceEnded():
            return replace(command, ended_at=event.at, arrived=event.arrived)
    return command
