"""The read model in memory that the log is folded into, as small as can be."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from projections.fold import Batch
from projections.memory import MemoryDatabase, MemoryStore, Place, past_places
from projections.rows import Instance
from projections.verification.buckets import Buckets, Fingerprints, bucket_of
from projections.verification.skipped import NOTHING, Skipped
from projections.verification.tables import DELETED, TABLES, Table, Values, row_hash

ROW_BYTES: Final = 1000
"""About what a row takes in memory beside its texts."""
TEXTS: Final = (
    *(
        "definition",
        "variables",
        "waiting",
        "acts",
        "input",
        "output",
        "event",
        "error",
        "last_failure",
        "vars",
        "filter",
    ),
    "message",
)
"""Columns whose texts may be large."""

Key = Any


class FoldedStore(MemoryStore):
    """A store that keeps rows of some buckets only.

    Args:
        buckets: whose rows are kept. Buckets leave this set when there is no room for all.
        max_bytes: about how much memory rows may take.
        whole: keep all rows, instead of letting those go that change no more.
        rejected_since: older rejections are left out, since the projections delete them.
        skipped: instances that are left out.
    """

    def __init__(
        self,
        buckets: Buckets,
        max_bytes: int,
        *,
        whole: bool,
        rejected_since: datetime,
        skipped: Skipped = NOTHING,
    ):
        self._folded = MemoryDatabase()
        super().__init__(self._folded)
        self.buckets = buckets
        self.fingerprints = Fingerprints()
        self.doubtful = Buckets()
        """Buckets whose fingerprints may be wrong, since a row was changed after it had gone."""
        self._max_bytes, self._whole, self._rejected_since = max_bytes, whole, rejected_since
        self._skipped = skipped
        self._places: dict[str, dict[Place, None]] = {}
        """Where the rows of each owner are."""
        self._bytes: dict[str, int] = {}
        self._total = 0

    async def write(self, batch: Batch) -> None:
        """See `projections.ports.Store.write`."""
        self._narrow(batch)
        self._doubt(batch)
        moved = [places for retry in batch.retries.values() for places in past_places(self._folded.tables, retry)]
        await super().write(batch)
        for (table, key), past in moved:
            places = self._places[key[0]]
            del places[table, key]
            places[past] = None
        for place, row in _rows(batch):
            self._place(place, row)
        # An instance that is not here makes its bucket doubtful; so do its keys.
        for place, found in _places("instance_keys", batch.keys.items()):
            self._place(place, found)
        if not self._whole:
            self._let_go(batch)
        while self._total > self._max_bytes and self._give_way():
            pass

    def seal(self, rejected_since: datetime) -> None:
        """Let all rows go that are left.

        Args:
            rejected_since: older rejections are left out.
        """
        rejections = self._folded.tables.rejections
        for key in [key for key, row in rejections.items() if row.at < rejected_since]:
            del rejections[key]
        for owner in list(self._places):
            self._seal(owner)

    def note(self, table: Table, values: Values) -> None:
        """Add a row of the other read model to the fingerprints, if it is one of the buckets that are looked at."""
        bucket = bucket_of(table.owner(values))
        if bucket in self.buckets and not self._skipped.leaves_out(table.name, values):
            self.fingerprints.note(bucket, row_hash(table.name, values))

    def rows(self, table: str) -> Iterator[Values]:
        """The rows of a table that are here, and are compared."""
        if table == DELETED:
            instances = self._folded.tables.instances.items()
            return ((id, row.request) for id, row in instances if row.request is not None and self._leaves_out(id))
        found: dict[Key, Struct] = getattr(self._folded.tables, table)
        owner = TABLES[table].owner
        return (values for values in map(TABLES[table].values, found.values()) if not self._leaves_out(owner(values)))

    def _leaves_out(self, owner: str) -> bool:
        instance = self._folded.tables.instances.get(owner)
        if instance is None:
            return False
        return self._skipped.is_old(instance.state, instance.terminated_at) or owner in self._skipped.restored

    def _narrow(self, batch: Batch) -> None:
        """Leave out what is not wanted."""
        wanted = self._wants
        batch.workflows = {id: row for id, row in batch.workflows.items() if wanted(id)}
        batch.instances = {id: row for id, row in batch.instances.items() if wanted(id)}
        batch.stages = {key: row for key, row in batch.stages.items() if wanted(key[0])}
        batch.activities = {key: row for key, row in batch.activities.items() if wanted(key[0])}
        batch.retries = {id: retry for id, retry in batch.retries.items() if wanted(id)}
        batch.retried = {}  # whatever is not here has gone from here, and is looked at again
        batch.triggers = {id: row for id, row in batch.triggers.items() if wanted(id)}
        batch.occurrences = [row for row in batch.occurrences if wanted(row.id)]
        batch.keys = {key: row for key, row in batch.keys.items() if wanted(key[0])}
        batch.event_requests = [row for row in batch.event_requests if wanted(row.instance_id)]
        batch.late_requests = [row for row in batch.late_requests if wanted(row.instance_id)]
        batch.bulks = {id: row for id, row in batch.bulks.items() if wanted(id)}
        batch.bulk_outcomes = {key: row for key, row in batch.bulk_outcomes.items() if wanted(key[0])}
        batch.rejections = {
            key: row
            for key, row in batch.rejections.items()
            if row.at >= self._rejected_since and wanted(f"{key[0]}/{key[1]}")
        }

    def _wants(self, owner: str) -> bool:
        return bucket_of(owner) in self.buckets

    def _doubt(self, batch: Batch) -> None:
        """Note what changes rows that are not here: they never were, or have gone."""
        for (table, key), row in _rows(batch):
            if not _is_new(row) and key not in getattr(self._folded.tables, table):
                self.doubtful.add(bucket_of(_owner(table, row)))
        for request in batch.late_requests:
            if request.instance_id not in self._folded.tables.instances:
                self.doubtful.add(bucket_of(request.instance_id))

    def _place(self, place: Place, row: Struct) -> None:
        if place[1] not in getattr(self._folded.tables, place[0]):
            return
        owner = _owner(place[0], row)
        places = self._places.setdefault(owner, {})
        size = sum(len(getattr(row, name, None) or "") for name in TEXTS) + (0 if place in places else ROW_BYTES)
        places[place] = None
        self._bytes[owner] = self._bytes.get(owner, 0) + size
        self._total += size

    def _let_go(self, batch: Batch) -> None:
        instances = self._folded.tables.instances
        for id in batch.instances:
            row = instances.get(id)
            if row is not None and row.terminated_at is not None:
                self._seal(id)
        for occurrence in batch.occurrences:
            self._seal(occurrence.id)

    def _seal(self, owner: str) -> None:
        bucket, left_out = bucket_of(owner), self._leaves_out(owner)
        for table, row in self._drop(owner):
            if left_out:
                if isinstance(row, Instance) and row.request is not None:
                    self.fingerprints.note(bucket, row_hash(DELETED, (owner, row.request)))
                continue
            self.fingerprints.note(bucket, row_hash(table, TABLES[table].values(row)))

    def _drop(self, owner: str) -> Iterator[tuple[str, Struct]]:
        self._total -= self._bytes.pop(owner, 0)
        for table, key in self._places.pop(owner, ()):
            row = getattr(self._folded.tables, table).pop(key, None)
            if row is not None:
                yield table, row

    def _give_way(self) -> bool:
        """Keep half of what is here, and do without the rest; False if that is not possible."""
        by_bucket: dict[int, list[str]] = {}
        for owner in self._bytes:
            by_bucket.setdefault(bucket_of(owner), []).append(owner)
        if len(by_bucket) < 2:
            return False
        kept, limit = 0, self._total / 2
        in_order = sorted(by_bucket)
        last = in_order[0]
        for last in in_order[:-1]:
            kept += sum(self._bytes[owner] for owner in by_bucket[last])
            if kept >= limit:
                break
        self.buckets.end_behind(last)
        for bucket in in_order:
            if bucket > last:
                for owner in by_bucket[bucket]:
                    for _ in self._drop(owner):
                        pass
        return True


def _rows(batch: Batch) -> Iterator[tuple[Place, Struct]]:
    """The rows of a batch, new ones and changes, with where they go."""
    yield from _places("workflows", batch.workflows.items())
    yield from _places("instances", batch.instances.items())
    yield from _places("stages", batch.stages.items())
    yield from _places("activities", batch.activities.items())
    yield from _places("triggers", batch.triggers.items())
    yield from _places("occurrences", ((row.id, row) for row in batch.occurrences))
    yield from _places("rejections", batch.rejections.items())
    yield from _places("bulks", batch.bulks.items())
    yield from _places("bulk_outcomes", batch.bulk_outcomes.items())
    requests = (*batch.event_requests, *batch.late_requests)
    yield from _places("event_requests", (((row.instance_id, row.key), row) for row in requests))


def _places(table: str, rows: Iterable[tuple[Key, Struct]]) -> Iterator[tuple[Place, Struct]]:
    return (((table, key), row) for key, row in rows)


def _is_new(row: Any) -> bool:
    """Whether a row of a batch is one that is to be added (see `projections.rows`)."""
    return getattr(row, "created_at", getattr(row, "started_at", row)) is not None


def _owner(table: str, row: Struct) -> str:
    return TABLES[table].owner(TABLES[table].values(row))
