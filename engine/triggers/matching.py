"""A message and a trigger: whether it fires, and the command that follows."""

from hashlib import blake2b
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import asdict, replace

from engine.core.evaluation import failing, size_bytes
from engine.triggers.definitions import CompiledTrigger, Definitions
from engine.triggers.failures import FilterFailures
from engine.triggers.judging import judge
from schemas.commands import NO_STAGES, EvaluateTrigger, FireTrigger
from schemas.expressions import Allowance, Expression, LinkNeeded, turns
from schemas.nesting import MAX_DEPTH, is_deeper, is_wider
from schemas.records import Headers

ONCE_EVER: Final = frozenset({"SAVED_PAYMENT", "SAVED_ACCOUNT"})
"""Messages that fire a trigger once for each payload id, ever: their services send them again at every change."""

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Largest message that can fire. One command carries it with the workflow and the variables; one that topic `commands`
does not take would be tried again for ever, and nothing behind it would fire."""

MAX_COMPOUNDS: Final = 100_000
"""Most lists and objects in a message. Each takes about a microsecond to read, in which an engine does nothing else:
2 MiB have room for a million."""

MAX_COMMAND_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
"""Largest command that a message becomes. It is under what topic `commands` takes, and its event is under
`engine.turn.MAX_DECISION_BYTES`; a larger one would be sent again for ever, or refused by the trigger's owner."""

MAX_ESCAPED_BYTES: Final = 6
"""Most bytes of one character in JSON: control characters take six."""

MAX_ONCE_BYTES: Final = 128
"""Longest payload id that is remembered as it is: one of megabytes would take that much of memory for ever."""

IDENTITY_HEADERS: Final = ("ce_id", "_watermill_message_uuid")
"""Record headers that tell a message from others of its producer, the first one that is there."""

NOT_JSON: Final = "json"
NOT_AN_ENVELOPE: Final = "envelope"
TOO_LARGE: Final = "size"


class NoEnvelope(ValueError):
    """A record is not JSON, or not in the form of the contract, or too large.

    Attributes:
        reason: one of the constants above, by which it is counted.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Message(Struct, frozen=True):
    """A message that other services publish, with its place in the topic."""

    source: str
    offset: int
    type: str
    version: str | None
    payload: Any
    envelope: Raw
    """All of it as it came."""
    identity: str | None
    """What tells it from the other messages of its `app`; the same when its producer sends it twice. A digest."""

    @property
    def once_key(self) -> str | None:
        """What it fires a trigger for once, ever. A long id is a digest: it is remembered for ever."""
        if self.type not in ONCE_EVER or not isinstance(self.payload, dict) or self.payload.get("id") is None:
            return None
        id = msgspec.json.encode(self.payload["id"])
        return f"{self.type}:{id.decode() if len(id) <= MAX_ONCE_BYTES else blake2b(id, digest_size=16).hexdigest()}"


def read_message(source: str, offset: int, value: bytes | None, headers: Headers = ()) -> Message:
    """The message of a record.

    Args:
        source: topic and partition.
        offset: its place there.
        value: the envelope.
        headers: of the record.

    Raises:
        NoEnvelope: it is not a message.
    """
    value = value or b""
    if len(value) > MAX_MESSAGE_BYTES:
        raise NoEnvelope(TOO_LARGE, f"it has {len(value)} bytes, more than {MAX_MESSAGE_BYTES}")
    if is_wider(value, MAX_COMPOUNDS):
        raise NoEnvelope(TOO_LARGE, f"it has more than {MAX_COMPOUNDS} lists and objects")
    try:
        envelope = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoEnvelope(NOT_JSON, f"not JSON: {error}") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("type"), str):
        raise NoEnvelope(NOT_AN_ENVELOPE, "not an envelope: `type` is missing")
    if is_deeper(value, MAX_DEPTH):
        raise NoEnvelope(TOO_LARGE, f"it is nested more than {MAX_DEPTH} levels deep")
    version = envelope.get("version")
    return Message(
        source,
        offset,
        envelope["type"],
        version if isinstance(version, str) else None,
        envelope.get("payload"),
        Raw(value),
        _identity(envelope, headers),
    )


def _identity(envelope: dict[str, Any], headers: Headers) -> str | None:
    """A digest of the message's own id and its app: ids can be long, and many are remembered."""
    key = envelope.get("idempotency_key")
    if not isinstance(key, str) or not key:
        given = dict(reversed(headers))
        found = next((found for name in IDENTITY_HEADERS if (found := given.get(name))), None)
        # Bytes that are no text, such as a counter of eight bytes, have to differ in it as they do.
        key = _number(key) if found is None else found.decode(errors="backslashreplace")
    if key is None:
        return None
    app = envelope.get("app")
    about = msgspec.json.encode([app if isinstance(app, str) else "", key])
    return blake2b(about, digest_size=16).hexdigest()


def _number(key: Any) -> str | None:
    """The text of a key that is a number. 0 is what producers write that have no key, as they write `""`."""
    return str(key) if type(key) in (int, float) and key else None


async def fire(
    trigger: CompiledTrigger,
    message: Message,
    definitions: Definitions,
    failures: FilterFailures,
) -> FireTrigger | EvaluateTrigger | None:
    """The command that follows from a message for a trigger of its type; None when it does not fire.

    Where the answer of a link is needed to tell, the trigger's owner is to evaluate the message.

    Args:
        trigger: listens to the message's type.
        message: what came.
        definitions: the current workflows.
        failures: is told when the filter can't be evaluated.
    """
    if trigger.definition.version and trigger.definition.version != message.version:
        return None

    async def evaluate(expression: Expression, allowance: Allowance) -> Any:
        return await turns.evaluate(expression, message.payload, {}, allowance)

    try:
        judgement = await judge(trigger, evaluate)
    except LinkNeeded:
        return _bounded(_to_evaluate(trigger, message, definitions))
    if not judgement.matches:
        if judgement.failure is not None:
            failures.note(trigger.id, judgement.failure, judgement.error or "")
        return None
    given = asdict(_to_evaluate(trigger, message, definitions))
    return _bounded(FireTrigger(**given, variables=judgement.variables, error=judgement.error))


def _to_evaluate(trigger: CompiledTrigger, message: Message, definitions: Definitions) -> EvaluateTrigger:
    workflow = definitions.workflow(trigger.definition.workflow_id)
    return EvaluateTrigger(
        occurrence_id=str(uuid5(UUID(trigger.id), f"{message.source}/{message.offset}")),
        event=message.envelope,
        source=message.source,
        offset=message.offset,
        once_key=message.once_key,
        identity=message.identity,
        stages=NO_STAGES if workflow is None else workflow.stages,
        max_attempts=None if workflow is None else workflow.max_attempts,
    )


def size_of(command: FireTrigger | EvaluateTrigger) -> int:
    """Most bytes that the command may take, without encoding it."""
    variables = command.variables if isinstance(command, FireTrigger) else {}
    return size_bytes(command) + MAX_ESCAPED_BYTES * sum(len(name) + len(value) for name, value in variables.items())


def _bounded(command: FireTrigger | EvaluateTrigger) -> FireTrigger | EvaluateTrigger:
    """The command, or one that fails because it would be too large."""
    if size_of(command) <= MAX_COMMAND_BYTES or (size := len(msgspec.json.encode(command))) <= MAX_COMMAND_BYTES:
        return command
    error = f"the message, its workflow and the variables take {size} bytes together; at most {MAX_COMMAND_BYTES} fit"
    if isinstance(command, EvaluateTrigger):
        command = failing(command, error)
    return replace(command, stages=NO_STAGES, variables={}, error=error)
