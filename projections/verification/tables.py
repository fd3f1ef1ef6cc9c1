"""What is compared: tables, their columns, and to which id a row belongs."""

import hashlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from projections import rows
from projections.read_rows import DeletedInstance

Values = tuple[Any, ...]
"""A row: the values of its columns, ids as texts."""

HASH_BYTES: Final = 8
"""Two rows of the same bucket that differ are taken for the same once in 2^64 times."""


class Table(NamedTuple):
    """A table of the read model."""

    name: str
    row: type[Struct]
    key: tuple[str, ...]
    """Its primary key."""
    owner: Callable[[Values], str]
    """What the row belongs to: the id of a workflow, an instance, a trigger, an occurrence; a rejection's own name."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return self.row.__struct_fields__

    def key_of(self, values: Values) -> Values:
        """The primary key of a row."""
        return tuple(values[self.columns.index(name)] for name in self.key)

    def values(self, row: Struct) -> Values:
        """A row as it is compared."""
        return msgspec.structs.astuple(row)


def _first(values: Values) -> str:
    owner: str = values[0]
    return owner


def _rejection(values: Values) -> str:
    return f"{values[0]}/{values[1]}"


DELETED: Final = "deleted_instances"
"""Requests of instances that were deleted: without them, a repetition would run such an instance again. Those of
instances that may be deleted are compared with them, since nobody can tell when that happens."""

TABLES: Final = {
    table.name: table
    for table in (
        Table("workflows", rows.Workflow, ("id",), _first),
        Table("instances", rows.Instance, ("id",), _first),
        Table("stages", rows.Stage, ("instance_id", "number"), _first),
        Table("activities", rows.Activity, ("instance_id", "stage", "index"), _first),
        Table("past_stages", rows.PastStage, ("instance_id", "number", "retries"), _first),
        Table("past_activities", rows.PastActivity, ("instance_id", "stage", "index", "retries"), _first),
        Table("event_requests", rows.EventRequest, ("instance_id", "key"), _first),
        Table("instance_keys", rows.InstanceKey, ("instance_id", "key"), _first),
        Table("triggers", rows.Trigger, ("id",), _first),
        Table("occurrences", rows.Occurrence, ("id",), _first),
        Table("rejections", rows.Rejection, ("partition", "cause"), _rejection),
        Table("bulks", rows.Bulk, ("id",), _first),
        Table("bulk_outcomes", rows.BulkOutcome, ("bulk_id", "partition", "outcome"), _first),
        Table(DELETED, DeletedInstance, ("id",), _first),
    )
}

_encode = msgspec.msgpack.Encoder().encode


def row_hash(table: str, values: Values) -> int:
    """A hash of a row, that tells it from every other row of all tables."""
    return int.from_bytes(hashlib.blake2b(_encode((table, values)), digest_size=HASH_BYTES).digest(), "big")
