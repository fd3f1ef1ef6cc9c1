"""A message and a trigger: whether it fires, and the command that follows."""

import logging
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Raw, Struct

from engine.triggers.definitions import CompiledTrigger, Definitions
from schemas.commands import FireTrigger
from schemas.expressions import EvaluationError, Expression, LinkAnswer, is_match, to_variable
from schemas.expressions.limits import MAX_VARIABLES_LENGTH
from schemas.stack.links import LinkFetcher

logger = logging.getLogger(__name__)

ONCE_EVER = frozenset({"SAVED_PAYMENT", "SAVED_ACCOUNT"})
"""Messages that fire a trigger once for each payload id, ever: their services send them again at every change."""

MAX_MESSAGE_BYTES = 2 * 1024 * 1024
"""Largest message that can fire. One command carries it with the workflow and the variables; one that topic `commands`
does not take would be tried again for ever, and nothing behind it would fire."""

MAX_DEPTH = 100
"""Most levels of lists and objects in each other in a message. How deep a value may be decoded depends on who decodes
it: one that fires here could later stop its partition from being restored."""

MAX_NAME_LENGTH = 100
"""Characters of a variable's name in an error; the rest tells nobody more."""


class NoEnvelope(ValueError):
    """A record is no JSON, or not in the form of the contract, or too large."""


class Message(Struct, frozen=True):
    """A message that other services publish, with its place in the topic."""

    source: str
    offset: int
    type: str
    version: str | None
    payload: Any
    envelope: Raw
    """All of it as it came."""
    links: dict[str, LinkAnswer]
    """What `link()` has fetched for it so far, by uri: each once, however many expressions ask."""

    @property
    def once(self) -> str | None:
        """What it fires a trigger for once, ever."""
        if self.type not in ONCE_EVER or not isinstance(self.payload, dict) or self.payload.get("id") is None:
            return None
        return f"{self.type}:{msgspec.json.encode(self.payload['id']).decode()}"


def read_message(source: str, offset: int, value: bytes | None) -> Message:
    """The message of a record.

    Raises:
        NoEnvelope: it is none.
    """
    value = value or b""
    if len(value) > MAX_MESSAGE_BYTES:
        raise NoEnvelope(f"its {len(value)} bytes are more than {MAX_MESSAGE_BYTES}")
    try:
        envelope = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoEnvelope(f"no JSON: {error}") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("type"), str):
        raise NoEnvelope("no envelope: `type` is missing")
    # Counting brackets is far cheaper than walking through the value, and often tells that it needs no walk.
    if value.count(b"[") + value.count(b"{") > MAX_DEPTH and _is_deep(envelope):
        raise NoEnvelope(f"it is nested more than {MAX_DEPTH} levels deep")
    version = envelope.get("version")
    return Message(
        source,
        offset,
        envelope["type"],
        version if isinstance(version, str) else None,
        envelope.get("payload"),
        Raw(value),
        {},
    )


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return any(isinstance(item, dict | list) for item in level)


async def fire(
    trigger: CompiledTrigger, message: Message, definitions: Definitions, fetcher: LinkFetcher
) -> FireTrigger | None:
    """The command that follows from a message for a trigger of its type; None when it does not fire."""
    if trigger.definition.version and trigger.definition.version != message.version:
        return None
    try:
        if trigger.filter is not None and not is_match(await _value(trigger.filter, message, fetcher)):
            return None
    except EvaluationError:
        return None
    error = None
    try:
        variables = await _variables(trigger, message, fetcher)
    except EvaluationError as failed:
        variables, error = {}, str(failed)
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


async def _variables(trigger: CompiledTrigger, message: Message, fetcher: LinkFetcher) -> dict[str, str]:
    variables: dict[str, str] = {}
    length = 0
    for name, expression in trigger.vars.items():
        try:
            value = await _value(expression, message, fetcher)
            if value is None:
                continue  # as if it were not given, so that a message without the field moves no money to `users-`
            variables[name] = to_variable(value)
        except EvaluationError as error:
            raise EvaluationError(f"{name[:MAX_NAME_LENGTH]}: {error}") from None
        length += len(variables[name])
        if length > MAX_VARIABLES_LENGTH:
            raise EvaluationError(f"the variables have more than {MAX_VARIABLES_LENGTH} characters")
    return variables


async def _value(expression: Expression | str, message: Message, fetcher: LinkFetcher) -> Any:
    if isinstance(expression, str):
        raise EvaluationError(expression)
    try:
        return await fetcher.evaluate(expression, message.payload, message.links)
    except EvaluationError:
        raise
    except Exception:
        # A bug in the evaluation of one expression must not stop all other triggers, again and again.
        logger.exception("an expression could not be evaluated", extra={"expression": expression.text})
        raise EvaluationError("internal fault") from None
