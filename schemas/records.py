"""Record layout: how commands and events become Kafka records, and back.

The value is the message's state as JSON (integers of any size stay exact, and a person can read it). Headers say more:

| header | on | holds |
|---|---|---|
| `type` | both | name of the message, such as `StageStarted` |
| `schema` | both | version of its schema, from 1; left out for 1 |
| `version` | events | position among the aggregate's events, from 1; 0 for outcomes of commands, which have none |
| `cause` | events | offset of the command that caused it, on the partition of the same number; left out if none did |
| `epoch` | events | offset of the owner's claim (see `schemas.epochs`); a claim itself has none |
| `encrypted` | both | which key the value is encrypted with, see `schemas.encryption`; left out where it is not |

Fields that have their default are left out of the value.

The mapping is that of the `eventsourcing` library (`Mapper`, `StoredEvent`, explicit topic names), with msgspec for
its transcoder. `RecordCodec` takes the mapper's states as they are: stored events in between would cost as much as the
states. Encryption is not here: it covers topics that hold no messages, and authenticates keys and headers of records.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol, cast, get_args

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent
from msgspec import Struct

from schemas import commands, events
from schemas.encryption_marks import check_opened, damage
from schemas.error_texts import BoundedError
from schemas.ids import is_id
from schemas.nesting import MAX_DEPTH as MAX_CONTENT_DEPTH
from schemas.nesting import is_deeper
from schemas.upcasters import newest, upcast

Headers = Sequence[tuple[str, bytes | None]]
"""Names and values. A value may be null: whoever can write to a topic can make such a header."""

MESSAGES: dict[str, type[Struct]] = {
    cls.__name__: cls for cls in (*get_args(commands.Command), *get_args(events.Event), events.PartitionClaimed)
}
"""Every message by the name that its records carry."""

MAX_NUMBER = 2**63 - 1
"""Largest number in a header, as offsets have it. Postgres could not hold a larger one, and the position of a partition
that such a number came to would never be written."""
MAX_DIGITS = len(str(MAX_NUMBER))
"""`int` refuses texts of thousands of digits by an error of its own."""

MAX_DEPTH = MAX_CONTENT_DEPTH + 28
"""Most levels of lists and objects in each other in a command: what comes from outside has less, and commands wrap it
in a few. See `schemas.nesting`."""


_HEADER_TEXT = re.compile(commands.HEADER_TEXT)


class UndecodableRecord(BoundedError, ValueError):
    """A record is not one of ours, or is damaged. The message says what is wrong with it."""


class UnknownMessage(UndecodableRecord):
    """A record is of a type or schema version that this build does not know, as a newer build may write it."""


class Record(Protocol):
    """A record as Kafka's client hands it out, and as the in-memory log does."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def key(self) -> bytes | None:
        """The aggregate's id."""

    @property
    def value(self) -> bytes | None:
        """The message's state."""

    @property
    def headers(self) -> Headers:
        """What the table above says."""


class NewRecord(Struct, frozen=True):
    """A record that is not in the log yet."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


class Recorded(Struct, frozen=True):
    """An event as it stands in the log."""

    aggregate_id: str
    version: int
    event: Any
    offset: int
    cause: int | None


class Message(Struct, frozen=True):
    """A message with the aggregate it belongs to: what the mapper turns into a stored event."""

    originator_id: str
    originator_version: int
    state: Struct


class MessageMapper(Mapper[str]):
    """Turns messages into stored events and back, as the library has it. `RecordCodec` needs the states alone."""

    def __init__(self) -> None:
        super().__init__(transcoder=None)  # type: ignore[arg-type]
        self._encoder = msgspec.json.Encoder()
        self._decoders = {name: msgspec.json.Decoder(cls) for name, cls in MESSAGES.items()}
        self._newest = {name: newest(name) for name in MESSAGES}

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Encode a `Message`."""
        message = cast(Message, domain_event)
        name, state = type(message.state).__name__, self.encode_state(message.state)
        return StoredEvent(message.originator_id, message.originator_version, name, state)

    def to_domain_event(self, stored_event: StoredEvent, schema: int = 1) -> Any:
        """Decode a `Message`, upcasting it from the schema version it was written with.

        Raises:
            UndecodableRecord: the type or schema is unknown or the state does not fit.
        """
        state = self.decode_state(stored_event.topic, stored_event.state, schema)
        return Message(cast(str, stored_event.originator_id), stored_event.originator_version, state)

    def encode_state(self, message: Struct) -> bytes:
        """The state of a message as it is stored."""
        return self._encoder.encode(message)

    def decode_state(self, name: str, state: bytes, schema: int = 1) -> Struct:
        """The message of a name from its stored state.

        Raises:
            UndecodableRecord: the name or schema is unknown or the state does not fit.
        """
        decoder = self._decoders.get(name)
        if decoder is None:
            raise UnknownMessage(f"unknown type {name!r}")
        known = self._newest[name]
        if not 1 <= schema <= known:
            raise UnknownMessage(f"schema {schema} of {name} is newer than this build, which knows {known}")
        try:
            if schema != known:
                state = upcast(name, state, schema, raw_fields(MESSAGES[name]))
            return decoder.decode(state)
        except Exception as error:  # an upcaster has errors of its own
            raise UndecodableRecord(f"{name}: {error}") from error


class RecordCodec:
    """Builds and reads the records of `commands` and `events`."""

    def __init__(self) -> None:
        self._mapper = MessageMapper()
        self._headers = {message: _headers_of(name) for name, message in MESSAGES.items()}

    def encode(
        self,
        aggregate_id: str,
        state: Struct,
        *,
        timestamp_ms: int,
        version: int | None = None,
        cause: int | None = None,
        epoch: int | None = None,
    ) -> NewRecord:
        """A record for one message; headers that are None are left out."""
        headers = self._headers[type(state)].copy()
        if version is not None:
            headers.append(("version", b"%d" % version))
        headers += _headers_of_decision(cause, epoch)
        return NewRecord(aggregate_id.encode(), self._mapper.encode_state(state), headers, timestamp_ms)

    def encode_decision(
        self,
        aggregate_id: str,
        decided: Sequence[Struct],
        *,
        timestamp_ms: int,
        first_version: int,
        cause: int | None,
        epoch: int,
    ) -> list[NewRecord]:
        """The records for the events of one decision, whose versions count up."""
        key, common = aggregate_id.encode(), _headers_of_decision(cause, epoch)
        return [
            NewRecord(
                key,
                self._mapper.encode_state(event),
                [*self._headers[type(event)], ("version", b"%d" % version), *common],
                timestamp_ms,
            )
            for version, event in enumerate(decided, first_version)
        ]

    def decode_command(self, record: Record) -> tuple[str, commands.Command]:
        """The aggregate's id and the command.

        Raises:
            UndecodableRecord: the record can't be decoded.
            KeyMissing: not without a key that this process does not have.
        """
        # Other services append commands: what they mean by a header `version` is their own.
        message = self._decode(record, {**dict(record.headers), "version": b"0"})
        if not isinstance(message.state, commands.Command):
            raise UndecodableRecord(f"{type(message.state).__name__} is not a command")
        if not is_id(message.originator_id):
            raise UndecodableRecord("the key is not a canonical UUID")
        if is_deeper(record.value or b"", MAX_DEPTH):
            raise UndecodableRecord(f"it is nested more than {MAX_DEPTH} levels deep")
        if isinstance(message.state, commands.FireTrigger | commands.EvaluateTrigger):
            _check_wrapped(message.state.event)
        if isinstance(message.state, commands.Submission):
            _check_submission(message.state, record.value or b"")
        return message.originator_id, message.state

    def decode_event(self, record: Record) -> Recorded:
        """The event with its place in the log.

        Raises:
            UndecodableRecord: the record can't be decoded.
            KeyMissing: not without a key that this process does not have.
        """
        headers = dict(record.headers)
        message = self._decode(record, headers)
        cause = _number(headers, "cause", 0) if "cause" in headers else None
        return Recorded(message.originator_id, message.originator_version, message.state, record.offset, cause)

    def _decode(self, record: Record, headers: Mapping[str, bytes | None]) -> Message:
        name = headers.get("type")
        if record.key is None or record.value is None or name is None:
            raise UndecodableRecord("key, value or header `type` is missing")
        try:
            key, type_ = record.key.decode(), name.decode()
        except UnicodeDecodeError as error:
            raise UndecodableRecord(f"key or header `type`: {error}") from None
        version, schema = _number(headers, "version", 0), _number(headers, "schema", 1)
        try:
            return Message(key, version, self._mapper.decode_state(type_, record.value, schema))
        except UndecodableRecord:
            check_opened(record.headers, record.offset)
            if (why := damage(headers)) is not None:
                raise UndecodableRecord(why) from None
            raise


def _check_wrapped(event: msgspec.Raw) -> None:
    """Check the message that a command wraps. The decoder has passed it over, and an event with it is decoded whole."""
    try:
        msgspec.json.decode(event)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UndecodableRecord(f"event: {error}") from error


def _check_submission(submission: commands.Submission, value: bytes) -> None:
    """Check what its layout does not say."""
    if len(value) > commands.MAX_SUBMISSION_BYTES:
        raise UndecodableRecord(f"the value has more than {commands.MAX_SUBMISSION_BYTES} bytes")
    if not isinstance(submission, commands.SubmitRun) and not _HEADER_TEXT.match(submission.idempotency_key):
        raise UndecodableRecord("idempotency_key: must be printable ASCII, without spaces at its ends")


def _headers_of(name: str) -> list[tuple[str, bytes]]:
    """The headers that all records of a message have."""
    return [("type", name.encode()), *schema_headers(name)]


def schema_headers(name: str) -> list[tuple[str, bytes]]:
    """The header `schema` of a message; none for its first version."""
    version = newest(name)
    return [] if version == 1 else [("schema", b"%d" % version)]


@cache
def raw_fields(cls: type[Struct]) -> frozenset[str]:
    """Names of the fields of a message that hold JSON as it was written."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(cls) if field.type is msgspec.Raw)


def _headers_of_decision(cause: int | None, epoch: int | None) -> list[tuple[str, bytes]]:
    headers = [] if cause is None else [("cause", b"%d" % cause)]
    if epoch is not None:
        headers.append(("epoch", b"%d" % epoch))
    return headers


def read_number(text: bytes | None) -> int | None:
    """The number that a header holds: decimal digits, at most `MAX_NUMBER`. None if it holds anything else."""
    # `int` takes more than that: signs, spaces, underscores; and it raises above 4300 digits.
    if text is None or not text.isdigit() or len(text) > MAX_DIGITS:
        return None
    number = int(text)
    return number if number <= MAX_NUMBER else None


def _number(headers: Mapping[str, bytes | None], name: str, default: int) -> int:
    if name not in headers:
        return default
    number = read_number(headers[name])
    if number is None:
        raise UndecodableRecord(f"header `{name}` is not a number")
    return number
