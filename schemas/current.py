"""Current workflows and triggers: topic `definitions`, compacted, keyed by id, read whole by every engine.

An engine appends the new definition before the event that makes it so, hence the topic is never behind the event log.
The header `version` orders the records of one id: a reader keeps the highest, whatever order they come in. Header
`schema` is the version of the layout, as in `schemas.records`.

Deleting leaves a record of its own, with key `<id>/deleted`, and the definition's record has no value any more. An
engine that was superseded and does not know yet may still write the definition after that. Compaction then keeps what
it wrote, and would have removed a deletion under the same key.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.encryption_marks import check_opened
from schemas.epochs import header
from schemas.ids import is_id
from schemas.records import (
    NewRecord,
    Record,
    UndecodableRecord,
    UnknownMessage,
    raw_fields,
    read_number,
    schema_headers,
)
from schemas.upcasters import DEFINITION, newest, upcast


class CurrentWorkflow(Struct, frozen=True, kw_only=True, tag_field="kind", tag="workflow"):
    """What a run of the workflow would start with."""

    stages: Raw
    """As JSON. Decoded, it takes twenty times the memory, and every engine keeps all of them."""
    max_attempts: int | None = None
    """`activityMaxAttempts` of the definition; None when it has none."""


class CurrentTrigger(Struct, frozen=True, kw_only=True, tag_field="kind", tag="trigger"):
    """When the trigger fires, and what it starts."""

    event: str
    version: str | None = None
    workflow_id: str
    filter: str | None = None
    vars: dict[str, str] | None = None


class Current(Struct, frozen=True):
    """A record of the topic. `definition` is None when it was deleted."""

    id: str
    version: int
    definition: CurrentWorkflow | CurrentTrigger | None


Definition = CurrentWorkflow | CurrentTrigger

_DECODER: Final[msgspec.json.Decoder[Definition]] = msgspec.json.Decoder(Definition)
_STAGES: Final = msgspec.json.Decoder(list[dict[str, Any]])


_DELETED: Final = "/deleted"


def records_of(current: Current, timestamp_ms: int) -> list[NewRecord]:
    """The records that make a definition known, or its deletion."""
    record = encode_current(current, timestamp_ms)
    if current.definition is not None:
        return [record]
    mark = NewRecord(f"{current.id}{_DELETED}".encode(), b'{"kind":"deleted"}', record.headers, timestamp_ms)
    return [mark, record]


def encode_current(current: Current, timestamp_ms: int) -> NewRecord:
    """The record of a definition; without a value when it was deleted."""
    value = None if current.definition is None else msgspec.json.encode(current.definition)
    headers = [("version", b"%d" % current.version), *schema_headers(DEFINITION)]
    return NewRecord(current.id.encode(), value, headers, timestamp_ms)


def decode_current(record: Record) -> Current:
    """What a record of the topic says.

    Raises:
        UndecodableRecord: the record is not one of ours.
        UnknownMessage: it is of a newer build.
        KeyMissing: it can't be read without a key that this process does not have.
    """
    schema_text = header(record.headers, "schema")
    schema = 1 if schema_text is None else read_number(schema_text)
    if schema is None or schema < 1:
        raise UndecodableRecord("definition: header `schema` is not a number")
    try:
        key = (record.key or b"").decode()
        is_deleted = record.value is None or key.endswith(_DELETED)
        definition = None if is_deleted else _decode(record.value or b"", schema)
        if isinstance(definition, CurrentWorkflow):
            _STAGES.decode(definition.stages)
            definition = CurrentWorkflow(stages=definition.stages.copy(), max_attempts=definition.max_attempts)
    except UnknownMessage:
        raise
    except (LookupError, TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        check_opened(record.headers, record.offset)
        raise UndecodableRecord(f"definition: {error!r}") from error
    version = read_number(header(record.headers, "version"))
    if version is None:
        raise UndecodableRecord("definition: header `version` is missing or not a number")
    key = key.removesuffix(_DELETED)
    if not is_id(key):
        raise UndecodableRecord("definition: the key is not a canonical UUID")
    return Current(key, version, definition)


def _decode(value: bytes, schema: int) -> Definition:
    known = newest(DEFINITION)
    if schema > known:
        raise UnknownMessage(f"schema {schema} of definitions is newer than this build, which knows {known}")
    if schema != known:
        value = upcast(DEFINITION, value, schema, raw_fields(CurrentWorkflow))
    return _DECODER.decode(value)
