"""A message and a trigger: whether it fires, and the command that follows."""

from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from engine.triggers.definitions import CompiledTrigger, Definitions
from schemas.commands import FireTrigger
from schemas.expressions import EvaluationError, Expression, LinkAnswer, is_match, to_variable
from schemas.stack.links import LinkFetcher

ONCE_EVER = frozenset({"SAVED_PAYMENT", "SAVED_ACCOUNT"})
"""Messages that fire a trigger once for each payload id, ever: their services send them again at every change."""


class NoEnvelope(ValueError):
    """A record is no JSON, or not in the form of the contract."""


class Message(Struct, frozen=True):
    """A message that other services publish, with its place in the topic."""

    source: str
    offset: int
    type: str
    version: str | None
    payload: Any
    envelope: Any

    @property
    def once(self) -> str | None:
        """What it fires a trigger for once, ever."""
        if self.type not in ONCE_EVER or not isinstance(self.payload, dict) or "id" not in self.payload:
            return None
        return f"{self.type}:{msgspec.json.encode(self.payload['id']).decode()}"


def read_message(source: str, offset: int, value: bytes | None) -> Message:
    """The message of a record.

    Raises:
        NoEnvelope: it is none.
    """
    try:
        envelope = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoEnvelope(f"no JSON: {error}") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("type"), str):
        raise NoEnvelope("no envelope: `type` is missing")
    version = envelope.get("version")
    return Message(
        source,
        offset,
        envelope["type"],
        version if isinstance(version, str) else None,
        envelope.get("payload"),
        envelope,
    )


async def fire(
    trigger: CompiledTrigger, message: Message, definitions: Definitions, fetcher: LinkFetcher
) -> FireTrigger | None:
    """The command that follows from a message for a trigger of its type; None when it does not fire."""
    links: dict[str, LinkAnswer] = {}
    if trigger.definition.version and trigger.definition.version != message.version:
        return None
    try:
        if trigger.filter is not None and not is_match(await _value(trigger.filter, message, fetcher, links)):
            return None
    except EvaluationError:
        return None
    variables, error = {}, None
    for name, expression in trigger.vars.items():
        try:
            variables[name] = to_variable(await _value(expression, message, fetcher, links))
        except EvaluationError as failed:
            variables, error = {}, f"{name}: {failed}"
            break
    return FireTrigger(
        occurrence_id=str(uuid5(UUID(trigger.id), f"{message.source}/{message.offset}")),
        event=message.envelope,
        source=message.source,
        offset=message.offset,
        once=message.once,
        stages=definitions.stages(trigger.definition.workflow_id),
        variables=variables,
        error=error,
    )


async def _value(
    expression: Expression | str, message: Message, fetcher: LinkFetcher, links: dict[str, LinkAnswer]
) -> Any:
    if isinstance(expression, str):
        raise EvaluationError(expression)
    return await fetcher.evaluate(expression, message.payload, links)
